"""The console: what it shows by HTTP and to whom, and what a person does with it in a browser."""

import http.client
import json
import re
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from .conftest import NUMBERS, ask, ended, job_request, until
from .test_training import fault

PAGES = "/_rehearsal/"


def call(rehearsal, path, method="GET", body=None, **headers):
    """Status, headers and text, as a browser asks."""
    connection = http.client.HTTPConnection(rehearsal.address.removeprefix("http://"), timeout=60)
    named = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if isinstance(body, dict):
        body, named["Content-Type"] = urllib.parse.urlencode(body), "application/x-www-form-urlencoded"
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def token(rehearsal):
    return re.search(r'name="token" value="([^"]+)"', call(rehearsal, PAGES)[2])[1]


@pytest.fixture(scope="module")
def job(shared):
    """A job that has ended, with a metric, and a line that no page may take for its own."""
    name = f"job-{next(NUMBERS)}"
    script = "for step in range(5): print(f'loss={1 / (step + 1)};')\nprint('<b>bold</b>')"
    request = job_request(shared, shared.bucket(), name, script)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    shared.sagemaker.create_training_job(**request)
    ended(shared, name)
    return name


def test_a_browser_is_led_to_it_and_s3_stays_s3(shared, job):
    status, headers, _ = call(shared, "/")
    assert (status, headers["Location"]) == (303, PAGES)
    assert shared.client("s3").list_buckets()["Buckets"]
    status, headers, text = call(shared, PAGES)
    assert (status, f'href="{PAGES}TrainingJob/{job}"' in text) == (200, True)
    assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
    assert not re.search(r"<script(?! src)|\son\w+=", text)
    assert [call(shared, PAGES + name)[0] for name in ("console.js", "console.css", "nothing", "Model/none")] == [
        *(200, 200, 404, 404)
    ]


def test_a_job_shows_its_steps_its_log_and_its_metrics(shared, job):
    status, _, text = call(shared, f"{PAGES}TrainingJob/{job}")
    assert status == 200
    steps = re.findall(r"<li>(\w+)", text)
    assert steps[1:] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "<b>bold</b>" not in text
    assert "<svg" in text
    assert ">loss</text>" in text


def test_an_endpoint_answers_the_form(shared, make):
    name = make.endpoint("one")
    form = {"token": token(shared), "type": "text/csv", "accept": "application/json", "variant": "v0", "body": "1,<2>"}
    status, _, text = call(shared, f"{PAGES}Endpoint/{name}", "POST", form)
    assert status == 200
    answer = text[text.index('<pre id="answer">') :]
    assert "200 application/json" in answer
    assert "&#34;body&#34;: &#34;1,&lt;2&gt;&#34;" in answer


def test_nobody_else_may_press_its_buttons(shared, make):
    name = make.endpoint("one")
    page, pid = f"{PAGES}Endpoint/{name}", ask(shared, name)[0]["pid"]
    good = {"token": token(shared), "fault": "kill"}
    assert call(shared, page, "POST", {**good, "token": "guessed"})[0] == 403
    assert call(shared, page, "POST", good, Origin="http://elsewhere.example")[0] == 403
    assert call(shared, page, "POST", good, Host="elsewhere.example:8055")[0] == 403
    body = json.dumps({"fault": "kill", "name": name})
    assert call(shared, "/_rehearsal/faults", "POST", body, Origin="http://elsewhere.example")[0] == 403
    assert ask(shared, name)[0]["pid"] == pid, "it was not killed"
    status, headers, _ = call(shared, page, "POST", good, Origin=shared.address)
    assert (status, "killed+a+container" in headers["Location"]) == (303, True)


@pytest.fixture(scope="module")
def stormy(rehearse):
    """A rehearsal of its own: what hits all calls would hit other tests."""
    rehearsal = rehearse("--backend", "process", "--grace", 5)
    yield rehearsal
    assert rehearsal.stop() == 0


def test_s3_is_slow_and_fails_and_sagemaker_throttles(stormy):
    bucket, s3 = stormy.bucket(x=b"1"), stormy.client("s3")
    assert "each call of S3 waits 0.2 s" in fault(stormy, "slow-s3", "0.2")
    assert "waits 0.2 s" in call(stormy, PAGES)[2]
    fault(stormy, "s3-errors", "1")
    with pytest.raises(ClientError, match="SlowDown"):
        s3.get_object(Bucket=bucket, Key="x")
    fault(stormy, "throttle", "1")
    with pytest.raises(ClientError, match="ThrottlingException"):
        stormy.sagemaker.list_models()
    assert "expected 0 to 1" in fault(stormy, "throttle", "2", expect=1)
    assert "expected a number" in fault(stormy, "throttle", "much", expect=1)
    for kind in ("slow-s3", "s3-errors", "throttle"):
        fault(stormy, kind, "0")
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"1"
    assert stormy.sagemaker.list_models()["Models"] == []


def test_a_job_goes_on_while_s3_fails_for_others(stormy):
    """The platform's own copies are not hit by errors; they are as slow as everybody's."""
    name = f"job-{next(NUMBERS)}"
    request = job_request(stormy, stormy.bucket(), name, "print('done')")
    fault(stormy, "s3-errors", "1")
    stormy.sagemaker.create_training_job(**request)
    assert ended(stormy, name)["TrainingJobStatus"] == "Completed"
    fault(stormy, "s3-errors", "0")


@pytest.mark.browser
def test_a_person_watches_a_job_and_asks_an_endpoint(shared, make, browser):
    browser.get(shared.address + "/")
    name = f"watched-{next(NUMBERS)}"
    script = "import time\nfor n in range(500): print(f'loss={1 / (n + 1)};', flush=True); time.sleep(0.5)"
    request = job_request(shared, shared.bucket(), name, script)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    shared.sagemaker.create_training_job(**request)
    until(lambda: browser.find_elements("link text", name), "the job comes into the list by itself")
    browser.find_element("link text", name).click()
    until(lambda: "loss=0.25;" in browser.find_element("id", "logs").text, "its lines come")
    until(lambda: browser.find_elements("css selector", "#charts svg"), "its metric is drawn")
    browser.find_element("css selector", "button[value=kill]").click()
    assert browser.find_element("id", "said").text == f"killed host 1 of training job {name}"
    until(lambda: "exit code: 137" in browser.find_element("id", "state").text, "its end comes")

    endpoint = make.endpoint("one")
    browser.get(f"{shared.address}{PAGES}Endpoint/{endpoint}")
    browser.find_element("name", "body").send_keys("<i>1</i>")
    browser.find_element("css selector", "#ask button").click()
    until(lambda: browser.find_elements("id", "answer"), "the answer comes")
    assert '"body": "<i>1</i>"' in browser.find_element("id", "answer").text
    until(lambda: browser.find_elements("css selector", "#charts svg"), "the request is counted")
    assert [entry["message"] for entry in browser.get_log("browser")] == [], "the browser complains of nothing"
