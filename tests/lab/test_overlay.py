"""Files put over a tree: whatever the tree commits, nothing outside it is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from bisect_celery.errors import InfraError
from bisect_celery.lab.overlay import put
from bisect_celery.model import Overlay
from bisect_celery.repo.layout import LayoutFailed


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    layout = tmp_path / "layout"
    layout.mkdir()
    return layout


def overlay(tmp_path: Path, target: str) -> Overlay:
    source = tmp_path / "source"
    source.write_text("ours")
    return Overlay(source, target)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_file_in_new_folders(tmp_path: Path, layout: Path) -> None:
    put(overlay(tmp_path, "settings/local/here.py"), layout)
    assert contents(layout) == {"settings/local/here.py": "ours"}


def test_a_committed_file_is_replaced(tmp_path: Path, layout: Path) -> None:
    (layout / "here.py").write_text("theirs")
    (layout / "here.py").chmod(0o400)
    put(overlay(tmp_path, "here.py"), layout)
    assert contents(layout) == {"here.py": "ours"}


def test_a_committed_link_is_replaced_and_not_written_through(tmp_path: Path, layout: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (layout / "here.py").symlink_to(outside)
    (layout / "nowhere.py").symlink_to(tmp_path / "absent")
    (layout / "folder.py").symlink_to(tmp_path)
    for name in ("here.py", "nowhere.py", "folder.py"):
        put(overlay(tmp_path, name), layout)
        assert not (layout / name).is_symlink()
    assert contents(layout) == dict.fromkeys(("here.py", "nowhere.py", "folder.py"), "ours")
    assert outside.read_text() == "precious"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("destination", ["outside", "../outside", "absent"])
def test_a_linked_folder_outside_is_refused(tmp_path: Path, layout: Path, destination: str) -> None:
    (tmp_path / "outside").mkdir()
    link = destination if destination.startswith("..") else tmp_path / destination
    (layout / "settings").symlink_to(link)
    with pytest.raises(LayoutFailed, match=r"the overlay settings/deep/here\.py would be written outside the tree"):
        put(overlay(tmp_path, "settings/deep/here.py"), layout)
    assert contents(tmp_path / "outside") == {}
    assert not (tmp_path / "absent").exists()


def test_a_linked_folder_inside_serves(tmp_path: Path, layout: Path) -> None:
    (layout / "real").mkdir()
    (layout / "settings").symlink_to("real")
    put(overlay(tmp_path, "settings/here.py"), layout)
    assert (layout / "real" / "here.py").read_text() == "ours"


@pytest.mark.parametrize("target", ["../here.py", "a/../../here.py"])
def test_a_target_outside_is_refused(tmp_path: Path, layout: Path, target: str) -> None:
    with pytest.raises(LayoutFailed, match="outside the tree"):
        put(overlay(tmp_path, target), layout)
    assert not (tmp_path / "here.py").exists()


def test_links_in_a_circle_are_refused(tmp_path: Path, layout: Path) -> None:
    (layout / "a").symlink_to("b")
    (layout / "b").symlink_to("a")
    with pytest.raises(LayoutFailed, match="written outside the tree"):
        put(overlay(tmp_path, "a/here.py"), layout)


@pytest.mark.parametrize("target", ["settings/here.py", "settings/deep/here.py"])
def test_a_file_where_a_folder_is_wanted(tmp_path: Path, layout: Path, target: str) -> None:
    (layout / "settings").write_text("theirs")
    with pytest.raises(LayoutFailed, match=f"the overlay {target} needs a folder where this tree has a file"):
        put(overlay(tmp_path, target), layout)
    assert contents(layout) == {"settings": "theirs"}


def test_a_folder_where_the_file_is_wanted(tmp_path: Path, layout: Path) -> None:
    (layout / "here.py").mkdir()
    with pytest.raises(LayoutFailed, match=r"the overlay here\.py is a folder in this tree"):
        put(overlay(tmp_path, "here.py"), layout)


def test_a_source_that_is_gone_is_no_fault_of_the_tree(tmp_path: Path, layout: Path) -> None:
    with pytest.raises(InfraError, match="cannot be copied: No such file"):
        put(Overlay(tmp_path / "gone", "here.py"), layout)
