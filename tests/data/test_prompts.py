import codecs
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.lines import DEFAULT_LIMITS, Limits
from data.prompts import read_documents, read_prompts, summarize_prompts
from tests.data.prompt_files import Write, parquet, read


def test_txt_is_one_prompt_a_line(write: Write) -> None:
    path = write("p.txt", "\ufefffirst \r\n\r\n  second\n \nthird")
    documents = list(read_documents(path))
    assert [document.text for document in documents] == ["first ", "  second", "third"]
    assert [document.doc_id for document in documents] == [0, 1, 2]
    assert [document.origin for document in documents] == ["p.txt:1", "p.txt:3", "p.txt:5"]
    assert {document.domain for document in documents} == {None}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("a\nb\n\nc\n", [("p.txt:1", "a\nb"), ("p.txt:4", "c")]),
        ("a\n---\n  b\n ----- \n", [("p.txt:1", "a"), ("p.txt:3", "  b")]),
        ("---\na\nb\n", [("p.txt:2", "a\nb")]),
        ("\n\na\nb\n\n", [("p.txt:3", "a"), ("p.txt:4", "b")]),  # none between
        ("a\n--- b\n--\n", [("p.txt:1", "a"), ("p.txt:2", "--- b"), ("p.txt:3", "--")]),
    ],
)
def test_txt_is_split_by_blank_lines_and_dashes_where_it_has_them(
    write: Write, content: str, texts: list[tuple[str, str]]
) -> None:
    documents = list(read_documents(write("p.txt", content)))
    assert [(document.origin, document.text) for document in documents] == texts


def test_texts_of_several_lines_are_noted_and_limited(write: Write) -> None:
    path = write("p.txt", "abc\ndef\n\ng\n")
    assert summarize_prompts(path).notes == (
        "blank lines and lines of --- separate its texts, so a text may have several lines",
    )
    with pytest.raises(ValueError, match=r"p\.txt:1: a text of more than 5 characters begins"):
        read(path, Limits(characters=5))


def test_rows_of_jsonl_without_the_field_have_no_text(write: Write) -> None:
    path = write("p.jsonl", '{"domain": "x"}\n{"text": "a"}\n{"text": null}\n{"prompt": "b"}\n')
    summary = summarize_prompts(path)
    assert (summary.documents, summary.skipped) == (2, 2)
    assert summary.notes == ("2 rows have no text and were left out: lines 1 and 3",)
    with pytest.raises(ValueError, match=r"q\.jsonl:1: no column or field named text or prompt"):
        summarize_prompts(write("q.jsonl", '{"domain": "x"}\n{"domain": "y"}\n'))
    with pytest.raises(ValueError, match=r"r\.jsonl:2: the text is int"):
        summarize_prompts(write("r.jsonl", '{"domain": "x"}\n{"text": 5}\n'))


def test_csv_has_a_text_and_an_optional_domain_column(write: Write) -> None:
    path = write("p.csv", 'domain,note,text\nmath,a,"1, 2\n3"\n,b,hello\n')
    assert read(path) == [("1, 2\n3", "math"), ("hello", None)]
    assert read(write("q.csv", "prompt\none\n\ntwo\n")) == [("one", None), ("two", None)]


def test_jsonl_has_an_object_a_line(write: Write) -> None:
    path = write("p.jsonl", '{"prompt": "a\\nb", "domain": " code "}\n\n{"text": "c", "x": NaN}\n')
    assert read(path) == [("a\nb", "code"), ("c", None)]


def test_rows_without_text_are_counted_not_numbered(write: Write) -> None:
    path = write("p.csv", "text,domain\na,x\n  ,x\nb,x\n")
    assert [document.doc_id for document in read_documents(path)] == [0, 1]
    summary = summarize_prompts(path)
    assert (summary.documents, summary.skipped) == (2, 1)
    assert summary.notes == ("1 row has no text and was left out: line 3",)


def test_of_many_rows_without_text_the_first_are_named(write: Write) -> None:
    lines = ['{"text": "a"}', *['{"text": null}'] * 1_200]
    note = "1,200 rows have no text and were left out: lines 2, 3, 4, 5, 6 and 1,195 more"
    assert summarize_prompts(write("p.jsonl", "\n".join(lines))).notes == (note,)
    path = parquet(write("p.parquet", ""), text=["a", "", None])
    two = "2 rows have no text and were left out: rows 2 and 3"
    assert read_prompts(path, DEFAULT_LIMITS).notes == (two,)


def test_the_hash_is_of_texts_and_domains_whatever_the_format(write: Write) -> None:
    in_csv = summarize_prompts(write("p.csv", "text,domain\na,math\n"))
    in_jsonl = summarize_prompts(write("p.jsonl", '{"text": "a", "domain": "math"}'))
    other = summarize_prompts(write("q.csv", "text,domain\na,code\n"))
    assert in_csv.sha256 == in_jsonl.sha256 != other.sha256


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "", "p.txt holds no prompts"),
        ("p.txt", " \n\n", "p.txt holds no prompts"),
        ("p.csv", "", "p.csv is empty"),
        ("p.csv", "text\n", "p.csv holds no prompts"),
        ("p.md", "hello", r"p.md is not one of \.txt, \.csv, \.jsonl, \.parquet"),
        (
            "p.txt",
            "ok\ncaf\xe9".encode("latin-1"),
            "p.txt:2: not UTF-8 .byte 0xe9 at character 4.; save",
        ),
        ("p.txt", "text".encode("utf-16"), "p.txt:1: UTF-16, not UTF-8"),
        ("p.txt", "text".encode("utf-32"), "p.txt:1: UTF-32, not UTF-8"),
        ("p.txt", codecs.BOM_UTF32_BE + "text".encode("utf-32-be"), "p.txt:1: UTF-32, not UTF-8"),
        *(
            (name, content.encode(encoding), f"{name}:1: looks like {shown}, and only UTF-8 is")
            for name, content in (
                ("p.txt", "the cat\n"),
                ("p.csv", "text,domain\r\na,b\r\n"),
                ("p.jsonl", '{"text": "née"}\n'),
            )
            for encoding, shown in (
                ("utf-16-le", "UTF-16"),
                ("utf-16-be", "UTF-16"),
                ("utf-32-le", "UTF-32"),
            )
        ),
        ("p.csv", "text\ncaf\xe9".encode("latin-1"), "p.csv:2: not UTF-8"),
        ("p.txt", "a\nb\0c\n", "p.txt:2: a NUL byte"),
        ("p.csv", "text\na\0\n", "p.csv:2: a NUL byte"),
        (
            "p.csv",
            "question;domain\na;b\n",
            "p.csv:1: no column .* named text or prompt, found 'question;domain'",
        ),
        (
            "p.csv",
            "text,prompt\na,b\n",
            "p.csv:1: more than one column or field named text or prompt",
        ),
        ("p.csv", "text,domain\na\n", "p.csv:2: 1 fields, the header has 2"),
        ("p.csv", 'text\n"open' + "\nshut" * 1_000, "p.csv:2: unexpected end of data; check the"),
        ("p.csv", 'text\n"a\nb"\n\n"open\nshut\n', "p.csv:5: unexpected end of data"),
        ("p.csv", 'text,domain\n"a\nb"\n', "p.csv:2: 1 fields, the header has 2"),
        ("p.jsonl", '{"text": "a"}\n{"text": ', "p.jsonl:2: not JSON: Expecting value"),
        ("p.jsonl", "[" * 100_000, "p.jsonl:1: JSON nested too deeply"),
        ("p.jsonl", '{"text": ' + "9" * 5_000 + "}", "p.jsonl:1: a number of more than 4,300"),
        ("p.jsonl", '{"text": "a", "text": "b"}', "p.jsonl:1: it has 'text' 2 times; correct it"),
        ("p.jsonl", '["text"]', "p.jsonl:1: list, not an object"),
        ("p.jsonl", '{"query": "a"}', "p.jsonl:1: no column or field .*, found 'query'"),
        ("p.jsonl", '{"text": 5}', "p.jsonl:1: the text is int, not a string"),
        ("p.jsonl", '{"text": "a", "domain": {}}', "p.jsonl:1: the domain is dict"),
        ("p.jsonl", '{"text": "\\ud800"}', "p.jsonl:1: half a surrogate pair"),
        (
            "p.jsonl",
            '{"text": "a", "domain": "x\\ny"}',
            "p.jsonl:1: the domain holds the control character U.000A",
        ),
        (
            "p.csv",
            "text,group,group\na,x,x\n",
            "p.csv:1: more than one .* named group, found 'text'",
        ),
        ("p.jsonl", '{"text": "a", "group": 5.5}', "p.jsonl:1: the group is float, not a string"),
        (
            "p.jsonl",
            '{"text": "a", "group": "x\\ny"}',
            "p.jsonl:1: the group holds the control character U.000A",
        ),
        (
            "p.csv",
            f"text,group\na,{'g' * 101}\n",
            "p.csv:2: the group has 101 characters, at most 100",
        ),
        (
            "p.csv",
            "text,domain,group\na,math,Emma\nb,code,Emma\n",
            "p.csv:3: group 'Emma' has texts of math and of code; a group lies within one domain: "
            "give them one domain, or a group for each",
        ),
        (
            "p.csv",
            "text,domain,group\na,,Emma\nb,code,Emma\n",
            "p.csv:3: group 'Emma' has texts of unlabelled and of code",
        ),
        ("p.parquet", "not parquet", "p.parquet is not readable Parquet"),
    ],
)
def test_a_bad_file_is_one_line(
    write: Write, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        summarize_prompts(write(name, content))
    assert "\n" not in str(raised.value)


def test_a_line_of_ten_megabytes_is_refused_with_the_limit(write: Write) -> None:
    for name, content in (
        ("p.txt", "x" * 10_000_000),
        ("p.csv", "text\n" + "x" * 10_000_000),
        ("p.csv", 'text\n"' + "x\n" * 5_000_000 + '"'),
        ("p.jsonl", '{"text": "' + "x" * 10_000_000 + '"}'),
    ):
        with pytest.raises(ValueError, match=r"limit|a line of more than 2,001,000 characters"):
            summarize_prompts(write(name, content))


def test_limits_hold_for_the_whole_file(write: Write) -> None:
    path = write("p.txt", "abc\n" * 4)
    assert len(read(path, Limits(documents=4))) == 4
    with pytest.raises(ValueError, match=r"p\.txt:4: more than 3 prompts"):
        read(path, Limits(documents=3))
    with pytest.raises(ValueError, match=r"or\s+10 characters; split the file"):
        read(path, Limits(total_characters=10))
    with pytest.raises(ValueError, match=r"p\.txt:1: 3 characters, the limit is 2"):
        read(path, Limits(characters=2))


def test_rows_are_counted_whether_blank_or_not(tmp_path: Path, write: Write) -> None:
    limits = Limits(rows=3)
    for path in (
        write("p.txt", "a\n\n\n\n"),
        write("p.csv", "text\na\n\n\n\n"),
        write("p.jsonl", '{"text": "a"}\n\n\n\n'),
        parquet(tmp_path / "p.parquet", text=["a", "", None, " "]),
    ):
        with pytest.raises(ValueError, match=f"{path.name}: .*3"):
            read(path, limits)


def test_a_bad_byte_is_named_by_its_own_line(write: Write) -> None:
    path = write("p.txt", b"a text of some length\n" * 400 + b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"p\.txt:401: not UTF-8"):
        read(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read(tmp_path / "absent.txt")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"folder\.csv is a folder; name a file"):
        read(tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"^\. is a folder; name a file"):
        read(Path("."))
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(ValueError, match=r"pipe\.txt is a pipe or a device; save what it gives"):
        read(tmp_path / "pipe.txt")


@pytest.mark.slow
@given(
    suffix=st.sampled_from([".txt", ".csv", ".jsonl", ".parquet"]),
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text('text,domain"{}[]:\n\r\0 ', max_size=200).map(str.encode),
        st.binary(max_size=50).map(lambda middle: b"PAR1" + middle + b"PAR1"),
    ),
)
def test_the_reader_raises_nothing_but_a_value_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    problem = None
    try:
        summary = summarize_prompts(path)
    except ValueError as error:
        problem = str(error)
    if problem is None:
        assert len(read(path)) == summary.documents > 0
    else:
        assert "\n" not in problem
