"""The page as somebody uses it, with real processes behind it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from tests.pictures import make_class_folders, make_picture
from tltool.shipped import shipped
from tltool.training.job import Job
from tltool.training.run_folder import create_run
from tltool.training.turns import turn
from tltool.ui import drop_area
from tltool.ui.incoming import receiving
from tltool.ui.tickets import find_ticket
from tltool.ui.workspace import Workspace, open_workspace

PATIENCE = 60  # seconds for a process; each imports TensorFlow
CLASSES = {"ant": 10, "*bee* :red[x]": 10, "<b>cat": 10}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for the module: what one test trained, the next finds again."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLTOOL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = make_class_folders(tmp_path_factory.mktemp("photos") / "insects", CLASSES)
    (folder / "ant" / "broken.jpg").write_bytes(b"no picture")
    return folder


def open_page(**parameters: str) -> AppTest:
    page = AppTest.from_file(str(shipped("app.py")), default_timeout=30)
    for name, value in parameters.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def wait(page: AppTest, until: Callable[[AppTest], bool]) -> AppTest:
    end = time.monotonic() + PATIENCE
    while not until(page):
        assert time.monotonic() < end, f"waited in vain; the page shows {headers(page)} {errors(page)}"
        time.sleep(0.5)
        page.run()
        assert not page.exception
    return page


def give_folder(page: AppTest, folder: Path | str) -> AppTest:
    page.selectbox(key="backbone").set_value("tiny_random")
    page.text_input(key="folder-path").set_value(str(folder))
    button(page, "Use this folder").click()
    return page.run()


def give_upload(page: AppTest, monkeypatch, name: str, content: bytes) -> AppTest:
    """What the page does once the browser says that a file is there; see test_uploads.py for how it got there."""
    page.selectbox(key="backbone").set_value("tiny_random").run()
    ticket = find_ticket(page.session_state[drop_area.TICKET])
    with receiving(name, len(content)) as file:
        file.write(content)
        workspace = file.keep(ticket.backbone)
    said = iter([workspace.id])  # once, as a browser says it
    monkeypatch.setattr(drop_area, "_component", lambda **_: SimpleNamespace(uploaded=next(said, None)))
    return page.run()


def button(page: AppTest, label: str):
    return next(widget for widget in page.button if widget.label == label)


def headers(page: AppTest) -> list[str]:
    return [header.value for header in page.header]


def errors(page: AppTest) -> list[str]:
    return [error.value for error in page.error]


def texts(page: AppTest) -> str:
    return "\n".join(element.value for kind in ("markdown", "caption") for element in getattr(page, kind))


def workspace_of(page: AppTest) -> Workspace:
    id_ = page.query_params["w"]  # a list where the page has set it
    workspace = open_workspace(id_ if isinstance(id_, str) else id_[0])
    assert workspace is not None
    return workspace


@pytest.fixture(scope="module")
def measured(cache, photos) -> str:
    """The address of a data set that has been measured."""
    page = give_folder(open_page(), photos)
    wait(page, lambda page: bool(page.button) and "3 Train" in headers(page))
    return workspace_of(page).id


@pytest.fixture(scope="module")
def trained(measured) -> str:
    page = open_page(w=measured)
    page.selectbox(key="recipe").set_value("linear-probe")
    page.button(key="train").click().run()
    wait(page, lambda page: "4 Result" in headers(page))
    return measured


def test_empty_state_offers_three_ways_to_give_pictures(cache):
    page = open_page()
    assert headers(page) == ["1 Data"]
    assert [tab.label for tab in page.tabs] == [
        "Upload an archive",
        "A folder on this computer",
        "Try it with a sample",
    ]
    assert not page.error


@pytest.mark.parametrize(("path", "words"), [("/no/such/*folder*", "there is no such folder"), ("  ", "Type the path")])
def test_a_folder_that_is_not_there_is_one_sentence(cache, path, words):
    page = give_folder(open_page(), path)
    assert len(page.error) == 1
    assert words in page.error[0].value
    assert "*folder*" not in page.error[0].value.replace("\\*", "")
    assert "w" not in page.query_params


def test_a_folder_without_classes_is_one_sentence_and_can_be_replaced(cache, tmp_path):
    make_picture(tmp_path / "flat" / "a.png")
    page = wait(give_folder(open_page(), tmp_path / "flat"), lambda page: bool(page.error))
    assert len(page.error) == 1
    assert "class" in page.error[0].value
    assert page.text_input(key="folder-path")


def test_gallery_decision_and_problems_appear(measured):
    page = open_page(w=measured)
    assert headers(page) == ["1 Data", "2 Decision", "3 Train"]
    shown = texts(page)
    assert "**insects**: 30 pictures in 3 classes" in shown.replace("\\", "")
    assert len(page.get("image")) == 15 + 1  # the gallery, and what augmentation makes of some of them
    recipe = workspace_of(page).facts()["decision"]["recipe"]
    assert page.selectbox(key="recipe").value == recipe
    table = next(element for element in page.get("html") if "tltable" in element.proto.body)
    assert table.proto.body.count("your pictures") == 1
    assert "broken.jpg" in str(page.dataframe[0].value)


def test_names_of_classes_are_never_markup(measured):
    shown = texts(open_page(w=measured))
    assert r"\*bee\* \:red\[x\]" in shown
    assert r"\<b\>cat" in shown


def test_trained_run_shows_its_score_and_its_model_loads(trained, tmp_path, photos):
    page = open_page(w=trained)
    assert headers(page) == ["1 Data", "2 Decision", "3 Train", "4 Result"]
    assert {metric.label for metric in page.metric} == {"Correct", "Balanced", "Log loss", "Calibration error"}
    assert "pictures correctly that it had never seen" in texts(page)
    assert len(page.get("download_button")) == 2  # the report, and the model
    (packed,) = (workspace_of(page).path / "bundles").glob("*.zip")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    from tltool.export.predictor import load_model

    predictor = load_model(tmp_path / packed.stem)
    assert sorted(predictor.class_names) == sorted(CLASSES)
    (prediction,) = predictor.predict([photos / "ant" / "ant_0000.png"])
    assert prediction.label in CLASSES


def test_command_line_lists_the_run(trained):
    from tltool.training.run_folder import list_runs

    workspace = open_workspace(trained)
    (run,) = list_runs(workspace.runs)
    assert run.read_state()["state"] == "done"
    assert str(workspace.runs) in "".join(code.value for code in open_page(w=trained).code)


def test_trying_pictures_gives_labels_and_says_which_cannot_be_read(trained, photos):
    page = open_page(w=trained)
    good = (photos / "ant" / "ant_0000.png").read_bytes()
    page.file_uploader[0].set_value([("one.png", good, "image/png"), ("a*b.png", b"no picture", "image/png")])
    page.run(timeout=PATIENCE)
    assert not page.exception
    assert "% sure" in texts(page)
    assert len(page.error) == 1
    assert r"a\*b.png: not a picture" in page.error[0].value


@pytest.mark.parametrize(("packing", "ending"), [("zip", ".zip"), ("gztar", ".tar.gz")])
def test_uploaded_archive_is_unpacked_and_shown(cache, photos, tmp_path, monkeypatch, packing, ending):
    packed = Path(shutil.make_archive(str(tmp_path / "insects"), packing, photos))
    page = give_upload(open_page(), monkeypatch, f"My insects{ending}", packed.read_bytes())
    wait(page, lambda page: bool(page.get("image")))
    # 31 files, of which one is damaged: it is left out as soon as that is found.
    assert re.search(r"\*\*My insects\*\*: 3[01] pictures", texts(page).replace("\\", ""))
    assert workspace_of(page).source.endswith(f"My_insects{ending}")
    page.button(key="leave").click().run()
    assert headers(page) == ["1 Data"]
    assert "w" not in page.query_params


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"not a zip", "Ångström photos.zip: "), (None, "..")],
    ids=["damaged", "climbing out"],
)
def test_bad_zip_is_one_sentence(cache, monkeypatch, content, words):
    if content is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("../../a.png", b"x")
        content = buffer.getvalue()
    page = give_upload(open_page(), monkeypatch, "Ångström photos.zip", content)
    wait(page, lambda page: bool(page.error))
    assert len(page.error) == 1
    assert page.error[0].value.startswith("Ångström photos.zip")
    assert words in page.error[0].value.replace("\\", "")
    assert page.text_input(key="folder-path")


def test_each_visitor_has_a_ticket_that_knows_the_choice(cache):
    pages = [open_page(), open_page()]
    pages[0].selectbox(key="backbone").set_value("tiny_random").run()
    numbers = [page.session_state["upload-ticket"] for page in pages]
    assert numbers[0] != numbers[1]
    assert find_ticket(numbers[0]).backbone == "tiny_random"
    assert find_ticket(numbers[1]).backbone == pages[1].selectbox(key="backbone").value != "tiny_random"


def test_an_upload_that_is_gone_is_one_sentence(cache, monkeypatch):
    page = open_page()
    monkeypatch.setattr(drop_area, "_component", lambda **_: SimpleNamespace(uploaded="0" * 32))
    page.run()
    assert len(page.error) == 1
    assert "Upload it again" in page.error[0].value
    assert page.text_input(key="folder-path")


def test_failed_run_is_one_sentence_and_another_can_be_started(cache, measured, tmp_path):
    workspace = open_workspace(measured)
    other = Workspace(workspace.path.with_name("f" * 32))
    other.path.mkdir()
    for file in (workspace.facts_file, workspace.path / "workspace.json"):
        shutil.copy(file, other.path)
    index = json.loads(workspace.data_file.read_text("utf-8")) | {"root": str(tmp_path / "gone")}
    other.data_file.write_text(json.dumps(index), "utf-8")
    shutil.copytree(workspace.jobs, other.jobs)
    page = open_page(w=other.id)
    page.button(key="train").click().run()
    wait(page, lambda page: bool(page.error))
    assert len(page.error) == 1
    assert "The last run failed." in page.error[0].value
    assert "no readable pictures found" in page.error[0].value
    assert page.button(key="train").label == "Train again"


def test_files_of_the_page_need_no_keras():
    slow = {"keras", "tensorflow", "sklearn", "scipy"}
    code = f"import sys, tltool.ui.page; print(sorted({slow} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_stopped_run_says_so(measured):
    page = open_page(w=measured)
    page.selectbox(key="recipe").set_value("finetune-all")  # a probe may be done before a busy machine stops it
    page.button(key="train").click().run()
    page.button(key="stop").click().run()
    wait(page, lambda page: bool(page.info))
    assert "You stopped" in page.info[0].value
    fit = workspace_of(page).fits()[-1]
    assert not fit.is_running()
    page.button(key="go-on").click().run()
    assert fit.is_running()
    os.kill(Job(fit.run.path / "worker.json")._pid(), signal.SIGKILL)
    wait(page, lambda page: bool(page.warning))
    assert "The last run was interrupted." in page.warning[0].value
    assert {widget.key for widget in page.button} >= {"go-on", "train"}


def test_a_run_that_waits_for_its_turn_says_so_and_names_no_other_workspace(measured, tmp_path):
    workspace = open_workspace(measured)
    other = create_run(workspace.path.with_name("e" * 32) / "runs" / "secret-1", "secret-1", "r", 0)
    page = open_page(w=measured)
    page.selectbox(key="recipe").set_value("linear-probe")
    with turn(other, pytest.fail):
        page.button(key="train").click().run()
        run = workspace.fits()[-1].run
        wait(page, lambda page: run.read_state()["pid"] is not None)
        wait(page, lambda page: "Waiting for (another)/runs/secret-1" in "".join(text.value for text in page.text))
        assert run.read_state()["state"] == "queued"
        assert "e" * 32 not in str([text.value for text in page.text])
    wait(page, lambda page: "train" in {widget.key for widget in page.button})
    assert run.read_state()["state"] == "done"


@pytest.mark.parametrize("id_", ["0" * 32, "../../etc", ""])
def test_unknown_address_offers_a_new_start(cache, id_):
    page = open_page(w=id_)
    assert headers(page) == ["1 Data"]
    assert page.text_input(key="folder-path")
