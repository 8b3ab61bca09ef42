"""The tour of the pages in a real browser: offered once, followed, left and found again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.views.shared.tour import STEPS
from tests.browser.dashboard import WAIT, settled

pytestmark = pytest.mark.slow

OFFER = "New here?"


@pytest.fixture
def newcomer(browser: Browser, server: str) -> Iterator[Page]:
    """In a browser that has never been here."""
    context = browser.new_context(base_url=server, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT)
    yield opened(context.new_page(), "/?trace=plain")
    context.close()


def opened(page: Page, path: str) -> Page:
    page.goto(path)
    page.locator(".rs-question").wait_for()
    settled(page)
    return page


def on_step(page: Page, number: int) -> None:
    title = page.locator(".st-key-tour").get_by_text(f"{number} of {len(STEPS)}: ")
    expect(title).to_contain_text(STEPS[number - 1].title)
    settled(page)


def test_a_newcomer_is_led_through_all_pages_once(newcomer: Page) -> None:
    newcomer.get_by_role("button", name="Take the tour").click()
    for number, step in enumerate(STEPS, 1):
        on_step(newcomer, number)
        assert newcomer.url.split("?")[0].endswith("/" if number == 1 else f"/{step.page}")
        newcomer.locator(".st-key-tour_next button").click()
    expect(newcomer.locator(".st-key-tour")).to_have_count(0)
    settled(newcomer)
    assert "tour=" not in newcomer.url
    again = opened(newcomer.context.new_page(), "/?trace=plain")  # a second visit
    expect(again.get_by_text(OFFER)).to_be_hidden()


def test_a_tour_that_was_left_is_found_again_in_the_sidebar(newcomer: Page) -> None:
    newcomer.get_by_role("button", name="Take the tour").click()
    on_step(newcomer, 1)
    newcomer.get_by_role("button", name="Next").click()
    on_step(newcomer, 2)
    newcomer.get_by_role("button", name="Leave").click()
    expect(newcomer.locator(".st-key-tour")).to_have_count(0)
    expect(newcomer.locator(".rs-question")).to_have_text("Which experts prefer which domain?")
    newcomer.get_by_role("button", name="Tour", exact=True).click()
    on_step(newcomer, 1)


def test_who_declines_is_not_asked_again(newcomer: Page) -> None:
    expect(newcomer.get_by_text(OFFER)).to_be_visible()
    newcomer.get_by_role("button", name="No, thanks").click()
    expect(newcomer.get_by_text(OFFER)).to_be_hidden()
    newcomer.reload()
    newcomer.locator(".rs-question").wait_for()
    settled(newcomer)
    expect(newcomer.get_by_text(OFFER)).to_be_hidden()
