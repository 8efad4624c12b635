"""The rules for macOS, as text: they were never tried on macOS. What they are handed to is tried by the contract, as `fresh`."""

import re

import pytest

from sandbox.isolation import levels, seatbelt


def test_what_is_not_allowed_is_denied_and_the_last_word_on_labels_is_no(tmp_path):
    text = seatbelt.rules(["/usr/lib/python3"], ["/usr/lib/python3/site-packages/sklearn/datasets"], str(tmp_path))
    lines = text.splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert "(deny process-fork)" in lines
    assert "(deny network*)" in lines
    reads = [i for i, line in enumerate(lines) if "file-read" in line and "metadata" not in line]
    assert [line[:6] for line in (lines[i] for i in reads)] == ["(allow", "(deny ", "(allow"]
    assert f'(subpath "{tmp_path}")' in lines[reads[2]]
    writable = [line for line in lines if "file-write" in line]
    assert writable == ['(allow file-write-data (literal "/dev/null"))', f'(allow file-read* file-write* (subpath "{tmp_path}"))']


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", 'bo"th\\"'])
def test_no_path_can_break_out_of_its_quotes(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    (line,) = [line for line in seatbelt.rules([], [], str(folder)).splitlines() if "file-write*" in line]
    quoted = re.fullmatch(r'\(allow file-read\* file-write\* \(subpath "((?:[^"\\]|\\.)*)"\)\)', line)
    assert quoted
    assert re.sub(r"\\(.)", r"\1", quoted[1]) == str(folder)


def test_on_macos_seatbelt_is_reduced_and_nothing_else_is_tried(monkeypatch):
    monkeypatch.setattr(levels.linux, "SUPPORTED", False)
    monkeypatch.setattr(levels.sys, "platform", "darwin")
    assert [level for level, _ in levels.candidates()] == ["reduced", "none"]
    assert levels.candidates()[0][1]["seatbelt"]
