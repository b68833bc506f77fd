"""The page, in a real browser."""

import shutil

import pytest

from tests.http.browser import running
from tests.http.conftest import LOCAL

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_page_loads_nothing_from_elsewhere(front):
    connection = front.connect()
    connection.request("GET", "/")
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    assert "http://www" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    with running(CHROMIUM, tmp_path_factory.mktemp("browser")) as found:
        yield found


def test_key_that_is_edited_in_one_window_changes_in_the_other(front, browser):
    one, other = [browser.open(f"http://{LOCAL}:{front.port}/") for _ in range(2)]
    for window in (one, other):
        window.wait_for("document.querySelector('.member.leader')")
        window.wait_for("document.querySelector('#timeline li')?.textContent.includes('node 1 leads')")
        window.run(
            "document.querySelector('#prefix').value = 'page/'; document.querySelector('#search button').click()"
        )
        window.wait_for("document.querySelector('#count').textContent.startsWith('0 of')")
    fill = "document.querySelector('#{}').value = '{}'"
    one.run("document.querySelector('#new').click()")
    one.run(
        f"{fill.format('key', 'page/a')}; {fill.format('value', 'first')}; document.querySelector('#save').click()"
    )
    row = "document.querySelector('#keys tr')?.textContent"
    for window in (one, other):
        window.wait_for(f"{row}?.includes('page/afirst')")
    other.run("document.querySelector('#keys tr').click()")
    other.wait_for("document.querySelector('#history li')?.textContent.includes('version 1: first')")
    other.run(f"{fill.format('value', 'second')}; document.querySelector('#save').click()")
    for window in (one, other):
        window.wait_for(f"{row}?.includes('page/asecond')")
    one.run("window.confirm = () => true; document.querySelector('#keys tr').click()")
    one.wait_for("document.querySelectorAll('#history li').length === 2")
    one.run("document.querySelector('#delete').click()")
    for window in (one, other):
        window.wait_for("!document.querySelector('#keys tr')")
        assert window.complaints == []
