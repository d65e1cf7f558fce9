"""Bad rows of a batch transform that is to go on."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twofold.contract.endpoint import Endpoint, read_endpoint
from twofold.errors import ConfigError, FormatError, RequestError
from twofold.formats import csv
from twofold.serve.bad_rows import LINES, Tally, read_lines
from twofold.serve.invocation import Invocation
from twofold.serve.model import load
from twofold.serve.rows_service import RowsService

GOOD = {"text/csv": b"1,2,3,4", "application/jsonlines": b"[1, 2, 3, 4]", "text/libsvm": b"1:1 2:2 3:3 4:4"}
BAD = {
    "text/csv": [b"a,b,c,d", b"1,2,3", b"", b"1,,3,4", b"1,2,3,1e99", b"\xff"],
    "application/jsonlines": [b"{", b"[1, 2, 3]", b"", b'["a", 2, 3, 4]', b"\xff"],
    "text/libsvm": [b"x:1", b"5:1", b"1:nan", b"\xff"],
}
MIXED = b"1,2,3,4\nx,2,3,4\n0.5,-1,2,0\n\n1,2,3\n9,9,9,9\n"
ROWS = np.array([[1, 2, 3, 4], [0.5, -1, 2, 0], [9, 9, 9, 9]], dtype=np.float32)
PLACES = [0, 2, 5]


def anything(rows):
    pass


@pytest.mark.parametrize("kind", GOOD)
@given(data=st.data())
def test_each_line_is_judged_as_if_it_were_alone(kind, data):
    lines = data.draw(st.lists(st.sampled_from([GOOD[kind], *BAD[kind]]), min_size=1, max_size=40))
    lines[-1] = lines[-1] or GOOD[kind]
    read = read_lines(b"\n".join(lines) + b"\n\n", kind, (4,), anything)
    assert read.lines == len(lines)
    assert read.places == [place for place, line in enumerate(lines) if line == GOOD[kind]]
    np.testing.assert_array_equal(read.rows, np.tile([1, 2, 3, 4], (len(read.places), 1)))
    bad = [place + 1 for place, line in enumerate(lines) if line != GOOD[kind]]
    assert [int(re.match(r"line (\d+)", error)[1]) for error in read.errors] == bad


def test_what_the_model_cannot_take_is_bad_too():
    def check(rows):
        if (rows > 5).any():
            raise RequestError("Row 0 is too large.")

    read = read_lines(b"1\n9\n2\n", "text/csv", (1,), check)
    assert (read.places, read.errors) == ([0, 2], ["line 2: Row 0 is too large."])


def test_a_line_ends_as_on_any_system():
    assert read_lines(b"1,2\r\nx\r\n3,4\r\n\r\n", "text/csv", (2,), anything).places == [0, 2]


def test_every_type_of_lines_is_read():
    assert set(LINES) == {*GOOD, "application/x-jsonlines", "text/x-libsvm"}


def test_a_tally_is_emptied():
    tally = Tally()
    tally.add(2)
    tally.add(3)
    assert [tally.drain(), tally.drain()] == [5, 0]


@pytest.fixture(scope="module")
def model(classifier):
    return load(classifier.folder)


def ask(model, body, accept, content_type="text/csv", bad_rows="nan"):
    service = RowsService(model, Endpoint(bad_rows=bad_rows))
    return service.answer(Invocation(body, content_type, accept)), service


def test_one_line_for_each(model, classifier):
    reply, service = ask(model, MIXED, "text/csv")
    lines = reply.body.decode().splitlines()
    assert [line == "nan,nan,nan" for line in lines] == [False, True, False, True, True, False]
    good = csv.decode("\n".join(lines[place] for place in PLACES).encode())
    np.testing.assert_allclose(good, classifier.answers(ROWS), atol=1e-6)
    assert service.bad_rows.drain() == 3


def test_json_says_null(model, classifier):
    reply, _ = ask(model, MIXED, "application/json")
    answer = json.loads(reply.body)
    assert [label is None for label in answer["labels"]] == [False, True, False, True, True, False]
    assert [answer["labels"][place] for place in PLACES] == classifier.labels(ROWS)
    assert answer["predictions"][1] == [None, None, None]
    reply, _ = ask(model, MIXED, "application/jsonlines")
    second = json.loads(reply.body.splitlines()[1])
    assert second == {"prediction": [None, None, None], "label": None}


@pytest.mark.parametrize("accept", ["application/x-npy", "application/x-npz", "application/x-parquet"])
def test_formats_of_bytes_have_no_labels_then(model, accept):
    assert ask(model, MIXED, accept)[0].body


def test_nothing_but_bad_rows(model):
    assert ask(model, b"x\ny\n", "text/csv")[0].body == b"nan,nan,nan\nnan,nan,nan\n"


def test_good_bodies_are_answered_as_ever(model):
    body = b"1,2,3,4\n0,0,0,1\n"
    for accept in ("text/csv", "application/json", "application/x-parquet"):
        assert ask(model, body, accept)[0] == ask(model, body, accept, bad_rows="refuse")[0]


@pytest.mark.parametrize(
    ("body", "kind"), [(b"", "text/csv"), (b"\n \n", "text/csv"), (b"[[1, 2]]", "application/json")]
)
def test_what_is_not_made_of_lines_is_refused_as_ever(model, body, kind):
    with pytest.raises((FormatError, RequestError)):
        ask(model, body, "text/csv", kind)


def test_it_is_off_unless_asked_for(model):
    assert read_endpoint({}).bad_rows == "refuse"
    assert read_endpoint({"TWOFOLD_BAD_ROWS": "NaN"}).bad_rows == "nan"
    with pytest.raises(ConfigError, match=r"TWOFOLD_BAD_ROWS is 'skip'. Expected refuse or nan"):
        read_endpoint({"TWOFOLD_BAD_ROWS": "skip"})
    with pytest.raises(FormatError, match="line 2, column 1"):
        ask(model, MIXED, "text/csv", bad_rows="refuse")


@pytest.mark.slow
def test_a_server_answers_short_and_long_bodies_and_counts(serving, classifier, until):
    server = serving(classifier.base, TWOFOLD_BAD_ROWS="nan", TWOFOLD_METRICS_SECONDS="1").ready()
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
    for times in (1, 2000):
        status, _, body = server.ask("POST", "/invocations", MIXED * times, headers)
        assert status == 200
        assert body.count(b"nan,nan,nan\n") == 3 * times
        assert body.count(b"\n") == 6 * times
    until(lambda: b"twofold_bad_rows_total 6003.0" in server.ask("GET", "/metrics")[2], "they are counted")
    until(lambda: '"BadRows":' in server.log, "and told to CloudWatch")
    assert "3 of 6 rows are bad and answered by NaN: line 2, column 1 is 'x'" in server.log
    assert server.stop() == 0
