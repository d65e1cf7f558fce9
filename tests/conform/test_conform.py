"""`twofold conform` without an engine: which checks, how they end, what a request is, and the talk with a server."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from twofold.conform import __main__ as command
from twofold.conform import suite, training
from twofold.conform.check import Check
from twofold.conform.client import Answer, Server, tally
from twofold.conform.subject import Request, readable, unpacked
from twofold.conform.verdict import Absent, Failed, Finding, expect
from twofold.errors import ConfigError


def finding(result="ok", **options):
    return Finding(section="2.3", check="answers", result=result, found="a|b", **options)


def fail(subject):
    expect(subject, "found this", "change that")
    return "fine"


def test_a_check_ends_well_failed_or_absent():
    def absent(subject):
        raise Absent("none", "add one")

    checks = [Check("1", "a", fail), Check("2", "b", absent)]

    assert [(f.result, f.found, f.change) for f in suite.findings(True, checks)] == [
        ("ok", "fine", ""),
        ("absent", "none", "add one"),
    ]
    assert [(f.result, f.found, f.change) for f in suite.findings(False, checks[:1])] == [
        ("failed", "found this", "change that")
    ]


def test_sections_are_chosen_whole_with_the_job_that_makes_the_model():
    first = training.CHECKS[0]
    assert suite.chosen((), has_model=True) == list(suite.CHECKS)
    assert {check.section for check in suite.chosen(("2.15",), has_model=True)} == {
        f"2.15.{number}" for number in range(1, 9)
    }
    assert suite.chosen(("9.2",), has_model=False)[0] is first
    # Not those whose number only begins alike.
    assert {check.section.split(".")[0] for check in suite.chosen(("1",), has_model=True)} == {"1"}
    with pytest.raises(ConfigError, match=r"--only is '7', expected one of: 1\.1, .*, 10\.2\."):
        suite.chosen(("7",), has_model=True)


def test_all_of_the_contract_that_an_image_can_show_is_checked():
    sections = {check.section for check in suite.CHECKS}
    assert {"3", "4", "5", "6", "9.2", "10"} <= sections
    assert {f"1.17.{number}" for number in range(1, 10)} <= sections
    assert {f"2.15.{number}" for number in range(1, 9)} <= sections


def test_the_table_is_markdown_in_a_file():
    head, _, row = command.markdown([finding(change="do")]).splitlines()
    assert head == "| contract | the image | result | found | change |"
    assert row == "| 2.3 | answers | ok | a&#124;b | do |"
    assert command.verdict([finding(), finding("failed"), finding("absent")]) == "3 checks: 1 ok, 1 failed, 1 absent"


@pytest.mark.parametrize("option", [["--hyperparameter", "epochs"], ["--long", "=3"], ["--env", "A"]])
def test_an_option_that_is_no_pair_is_refused(option, monkeypatch):
    monkeypatch.setattr("twofold.conform.engine.Engine", lambda image: SimpleNamespace(close=lambda: None))
    done = CliRunner().invoke(command.main, ["image", *option])
    assert done.exit_code == ConfigError.exit_code
    assert "expected NAME=VALUE" in done.output


def test_an_engine_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    done = CliRunner().invoke(command.main, ["image"])
    assert done.exit_code == ConfigError.exit_code
    assert "No Docker engine answers" in done.output


def test_a_large_body_is_whole_lines_or_blanks():
    assert Request(body=b"1,2", media_type="text/csv; charset=utf-8").large(10) == b"1,2\n1,2\n"
    padded = Request(body=b'{"a": 1}', media_type="application/json").large(100)
    assert (len(padded), json.loads(padded)) == (100, {"a": 1})


def test_a_model_is_given_as_folder_or_archive(tmp_path):
    import tarfile

    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "inference.py").write_text("x")
    (tmp_path / "model" / "code" / "inference.py").chmod(0o600)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model", arcname=".")

    for given in ("model", "model.tar.gz"):
        target = tmp_path / f"of-{given}"
        target.mkdir()
        assert (unpacked(tmp_path / given, target) / "code" / "inference.py").stat().st_mode & 0o444 == 0o444
    assert readable(tmp_path / "model").stat().st_mode & 0o555 == 0o555


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield Server(container=None, port=httpd.server_port)
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_sent_whole_with_or_without_a_length(server, chunked):
    body = bytes(range(256)) * 1000
    answer = server.ask("POST", "/invocations", body, chunked=chunked)
    assert (answer.status, answer.body) == (200, body)
    assert str(answer).startswith("200 after ")


def test_many_ask_at_once(server):
    answers = server.ask_together(8, b"x", {})
    assert tally(answers) == "8 x 200"


def test_an_answer_that_comes_before_the_body_was_read_counts():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        answer = Server(container=None, port=listener.getsockname()[1]).ask("POST", "/invocations", b"x" * 10_000_000)
        thread.join()
    assert (answer.status, answer.body) == (413, b"no")


def test_no_answer_is_an_answer_with_the_reason():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = Server(container=None, port=port).ping()
    assert answer.status == 0
    assert "refused" in str(answer)


def test_an_answer_that_is_no_object_has_failed():
    assert Answer(status=200, body=b'{"a": 1}').document() == {"a": 1}
    for body in (b"<html>", b"[]"):
        with pytest.raises(Failed, match="200 after"):
            Answer(status=200, body=body).document()
