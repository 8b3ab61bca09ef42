"""A model of transformers in a real browser: chosen, loaded, run, unloaded, also in another tab."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.dashboard import WAIT, served, settled, write_workspace

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(600)]

NAME = "models/mixtral"


def choose(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=name, exact=True).click()
    settled(page)


def test_a_model_is_chosen_loaded_run_and_unloaded(browser: Browser, tmp_path: Path) -> None:
    from tests.model.huggingface.folders import save

    write_workspace(tmp_path)
    save(tmp_path / "models" / "mixtral", "mixtral")
    (tmp_path / "models" / "empty").mkdir()
    with served(tmp_path) as (url, _):
        context = browser.new_context(viewport={"width": 1280, "height": 1600}, base_url=url)
        context.set_default_timeout(WAIT)
        page, other = context.new_page(), context.new_page()
        page.goto("/prompts?trace=plain")
        page.get_by_text("All 3 models, 1 of them unusable here").click()
        page.get_by_text("no model in models/empty: config.json is missing").wait_for()
        choose(page, NAME)
        facts = page.locator(".rs-model")
        expect(facts).to_contain_text("Mixtral")
        expect(facts).to_contain_text("softmax")
        other.goto(page.url)  # the link names the model
        page.get_by_role("button", name="Load", exact=True).click()
        for tab in (page, other):
            tab.get_by_role("button", name="Unload").wait_for()
            expect(tab.locator(".rs-model")).to_contain_text(", loaded")
        page.get_by_label("Paste a text", exact=True).fill("the cat sat on the mat")
        settled(page)
        page.get_by_role("button", name="Run", exact=True).press("Enter")
        page.get_by_text(f"Read by the model {NAME}.").wait_for()
        other.get_by_role("button", name="Unload").click()
        for tab in (page, other):
            tab.get_by_role("button", name="Load", exact=True).wait_for()
            expect(tab.locator(".rs-model")).not_to_contain_text(", loaded")
        context.close()
