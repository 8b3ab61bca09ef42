"""A text that tries what a text may try."""

HOSTILE = (
    "=cmd() <img src=http://evil.test/a.png onerror=alert(1)> <script>alert(2)</script> "
    "![a](http://evil.test/b.png) :red[x] $y$ <b>bold</b>"
)
