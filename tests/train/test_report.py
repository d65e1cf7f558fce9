"""The page that a run leaves: whole, by itself, and true."""

import re
from html.parser import HTMLParser

import pytest
from twofold.contract.job import read_training_job
from twofold.train.config import read_config
from twofold.train.ranks import Ranks
from twofold.train.report import Facts, write_report


class Page(HTMLParser):
    """Texts, tags and addresses of a page; every tag that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags, self.addresses = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def trained(make_tree, train_here, classes):
    files = {"training": {"a.csv": classes(40)}, "validation": {"v.csv": classes(20, seed=1)}}
    return train_here(make_tree(files, epochs=3, batch_size=8, hidden="8", export_onnx=False))


def test_a_run_leaves_a_page_that_needs_nothing_else(trained):
    text = (trained.paths.output_data / "report.html").read_text()
    page = Page(text)
    assert not page.open
    assert page.addresses == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    shown = " ".join(page.texts)
    for title in ("loss", "accuracy", "validation:f1", "loss of single batches", "samples a second, all ranks"):
        assert title in page.texts, title
    assert "mlp for classification, trained on 40 samples of 3 features by 1 process, ended 2" in shown
    accuracy = trained.manifest.metrics["validation:accuracy"]
    assert f"{accuracy:.5g} validation:accuracy" in shown
    assert "15 steps" in shown


def test_settings_of_the_job_come_first_and_bold(trained):
    text = (trained.paths.output_data / "report.html").read_text()
    rows = re.findall(r"<tr( class=set)?><td>(\w+)</td>", text)
    marked = [name for mark, name in rows if mark]
    assert sorted(marked) == ["batch_size", "epochs", "export_onnx", "hidden"]
    assert [name for _, name in rows][: len(marked)] == marked


@pytest.fixture
def facts(make_tree):
    job = read_training_job(make_tree({}), {"TRAINING_JOB_NAME": "<b>job</b>"})
    config = read_config({"label": "<script>alert(1)</script>"})
    return Facts(job, config, Ranks(), "regression", "10 samples", {}, 0, 1)


def test_text_of_the_user_is_text(tmp_path, facts):
    write_report(tmp_path, facts)
    page = Page((tmp_path / "report.html").read_text())
    assert "<b>job</b>" in page.texts
    assert "<script>alert(1)</script>" in page.texts
    assert "script" not in page.tags


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, facts, caplog):
    (tmp_path / "file").touch()
    write_report(tmp_path / "file" / "data", facts)
    assert "report.html cannot be written" in caplog.text
