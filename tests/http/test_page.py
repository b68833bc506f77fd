"""The page, in a real browser."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.http.browser import running
from tests.http.conftest import LOCAL, free_run

LAUNCHER = os.path.join(os.path.dirname(__file__), "..", "..", "bin", "kvcluster.py")

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


@pytest.fixture
def page(tmp_path):
    """Where the page of a launcher of three nodes is."""
    port = free_run(4)
    command = [sys.executable, LAUNCHER, "--data-dir", str(tmp_path / "nodes"), "--http", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            ready = next(line for line in process.stdout if line.startswith("ready"))
            yield re.search(r"page on (http://\S+)", ready)[1]
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("action", "seen", "undo"),
    [("kill", "dead", "start"), ("cut off", "cut off from the others", "reconnect")],
)
def test_learner_sees_the_next_leader_elected_when_a_button_takes_the_first_away(
    page, browser, action, seen, undo
):
    def click(member, button):
        found = f"[...{member}.querySelectorAll('button')].find((each) => each.textContent === '{button}')"
        window.wait_for(found)
        window.run(f"{found}.click()")

    window = browser.open(page)
    leader = "document.querySelector('.member.leader')"
    window.wait_for(leader)
    first = window.run(f"{leader}.dataset.id")
    click(leader, action)
    window.wait_for(f"{leader} && {leader}.dataset.id !== '{first}'")
    taken = f"document.querySelector('.member[data-id=\"{first}\"]')"
    window.wait_for(f"{taken}.textContent.includes('{seen}')")
    if action == "cut off":  # its own front says that it is stale
        stale = browser.open(f"http://{LOCAL}:{int(page.rstrip('/').rpartition(':')[2]) - 4 + int(first)}/")
        stale.wait_for("document.querySelector('#banner').textContent.includes('out of touch')")
    click(taken, undo)
    window.wait_for(f"{taken}.textContent.includes('follower') && !{taken}.textContent.includes('{seen}')")
    assert window.complaints == []
