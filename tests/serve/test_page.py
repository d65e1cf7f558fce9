"""The page for people: what the server sends by HTTP, and what a browser makes of it."""

import json
import re

import numpy as np
import pytest
from twofold.contract.endpoint import Endpoint
from twofold.serve.app import create_app
from twofold.serve.model import load
from twofold.serve.rows_service import RowsService

PATHS = ("/", "/page.css", "/page.js")


def client_of(artifact, **settings):
    endpoint = Endpoint(**settings)
    return create_app(RowsService(load(artifact.folder), endpoint), endpoint).test_client()


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_in_it(classifier):
    client = client_of(classifier)
    answers = {path: client.get(path) for path in PATHS}
    assert [answer.content_type.partition(";")[0] for answer in answers.values()] == [
        *("text/html", "text/css", "text/javascript")
    ]
    for answer in answers.values():
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert set(re.findall(r"https?://[^\s\"']+", answer.text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<style|<script(?! src)|\son\w+=|\sstyle=", answers["/"].text)


def test_what_the_page_asks_for_is_there(classifier):
    client = client_of(classifier)
    for path in re.findall(r'(?:href|src)="(?!data:)([^"]+)"', client.get("/").text):
        assert client.get(f"/{path}").status_code == 200 or path == "metrics"


def test_there_is_none_where_it_is_off(classifier):
    client = client_of(classifier, page=False)
    assert [client.get(path).status_code for path in PATHS] == [404, 404, 404]


@pytest.fixture(scope="module")
def server(serving, classifier):
    return serving(classifier.base).ready()


@pytest.mark.browser
def test_a_person_sends_the_sample_and_sees_the_answer(server, classifier, browser, until):
    browser.get(f"http://127.0.0.1:{server.port}/")

    def text(name):
        return browser.find_element("id", name).text

    until(lambda: text("health") == "ready", "it says how the server is")
    until(lambda: text("title") == "mlp (classification)", "and what it serves")
    assert text("signature") == "rows of 4 numbers; 3 classes: 0, 1, two"
    browser.find_element("id", "send").click()
    until(lambda: text("status").startswith("200 application/json in"), "the answer comes")
    np.testing.assert_allclose(json.loads(text("answer"))["predictions"], classifier.answers([[0] * 4]), atol=1e-6)
    body = browser.find_element("id", "body")
    body.clear()
    body.send_keys("<b>1</b>")
    browser.find_element("id", "send").click()
    until(lambda: text("status").startswith("400"), "a mistake is told")
    assert "no JSON" in text("answer")
    until(lambda: browser.find_elements("css selector", "#latency .a"), "what was asked is drawn")
    until(lambda: browser.find_elements("css selector", "#batch .a"), "and its batch")
    assert "workers" in text("now")
    told = [entry["message"] for entry in browser.get_log("browser") if "400 (Bad Request)" not in entry["message"]]
    assert told == [], "the browser complains of nothing"


@pytest.mark.browser
def test_a_person_chooses_a_type_and_a_file(server, browser, until, tmp_path):
    browser.get(f"http://127.0.0.1:{server.port}/")
    kind = browser.find_element("id", "type")
    until(lambda: kind.get_attribute("value") == "application/json", "the page is filled")
    kind.clear()
    kind.send_keys("text/csv\t")
    until(lambda: browser.find_element("id", "body").get_attribute("value") == "0,0,0,0\n", "the sample follows")
    (tmp_path / "rows.csv").write_text("1,2,3,4\n5,6,7,8\n")
    browser.find_element("id", "file").send_keys(str(tmp_path / "rows.csv"))
    accept = browser.find_element("id", "accept")
    accept.clear()
    accept.send_keys("text/csv")
    browser.find_element("id", "send").click()
    until(lambda: len(browser.find_element("id", "answer").text.splitlines()) == 2, "one line for each of the file")
