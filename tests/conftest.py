"""Keeps the tests out of the user's cache, and says which data a skipped test waits for."""

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items):
    if REAL_DATA.is_dir():
        return
    absent = pytest.mark.skip(reason="needs the image sets of ../shared/data: runs again once that folder is there")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(absent)
