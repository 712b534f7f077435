"""Files of events: every line once, numbered from 1, in bounded memory."""

import gzip
import io
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor import event_files
from monitor.event_files import EventFileError, read_blocks


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def unpacker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test with ISA-L and without it."""
    name: str = request.param
    if name == "zlib":
        monkeypatch.setitem(sys.modules, "isal.igzip", None)
    return name


def lines(path: Path | str, **how: int) -> list[tuple[int, bytes]]:
    found = []
    for block in read_blocks(str(path), **how):
        assert len(block.offsets) == len(block.payloads)
        found += list(zip(block.offsets, block.payloads, strict=True))
    return found


def test_lines_are_numbered_from_one_with_or_without_a_last_newline(tmp_path: Path) -> None:
    for end in (b"", b"\n"):
        file = tmp_path / "a.jsonl"
        file.write_bytes(b"one\ntwo\n\nfour" + end)
        assert lines(file) == [(1, b"one"), (2, b"two"), (3, b""), (4, b"four")]


def test_a_compressed_file_reads_the_same_under_any_name_and_in_several_members(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "a.jsonl"):
        file = tmp_path / name
        file.write_bytes(gzip.compress(b"one\ntw") + gzip.compress(b"o\n"))
        assert lines(file) == [(1, b"one"), (2, b"two")]


def test_blocks_hold_at_most_so_many_lines_and_cut_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    text = [f"{i:0{i % 50 + 5}d}".encode() for i in range(100_000)]
    file.write_bytes(b"\n".join(text))
    blocks = list(read_blocks(str(file), lines=700))
    assert max(len(block.payloads) for block in blocks) == 700
    assert [payload for block in blocks for payload in block.payloads] == text
    assert [number for block in blocks for number in block.offsets] == list(range(1, 100_001))


def test_reading_goes_on_after_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"1\n2\n3\n4\n")
    assert lines(file, after=2) == [(3, b"3"), (4, b"4")]
    assert lines(file, after=9) == []


def test_a_line_over_the_limit_is_cut_and_its_neighbours_stay_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"before\n" + b"x" * (5 << 20) + b"\nafter\n" + b"y" * (3 << 20))
    found = lines(file, max_line_bytes=2 << 20)
    assert [(number, len(line)) for number, line in found] == [
        (1, 6),
        (2, (2 << 20) + 1),
        (3, 5),
        (4, (2 << 20) + 1),
    ]


def test_a_line_that_never_ends_takes_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        for _ in range(64):
            out.write(b"0" * (1 << 20))
    tracemalloc.start()
    found = lines(file, max_line_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(line) for _, line in found] == [(1 << 20) + 1]
    assert peak < 12 << 20


def test_standard_input_is_a_partition_plain_or_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (b"one\ntwo\n", gzip.compress(b"one\ntwo\n")):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(text))))
        (block,) = read_blocks(event_files.STDIN)
        assert (block.partition, block.payloads) == ("stdin", [b"one", b"two"])


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert lines(tmp_path / "a.jsonl") == []


def test_a_file_that_cannot_be_read_is_one_plain_error(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match=r"none\.jsonl: after line 0: No such file"):
        lines(tmp_path / "none.jsonl")
    with pytest.raises(EventFileError, match="Is a directory"):
        lines(tmp_path)


def test_a_compressed_file_cut_short_gives_its_lines_and_then_the_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    text = b"".join(b"%d\n" % (i * 7919) for i in range(200_000))
    file.write_bytes(gzip.compress(text)[:-1000])
    found: list[bytes] = []
    with pytest.raises(EventFileError, match=r"after line \d+"):
        found.extend(payload for block in read_blocks(str(file)) for payload in block.payloads)
    assert len(found) > 50_000
    assert found == text.split(b"\n")[: len(found)]


def test_gzip_is_unpacked_by_what_is_installed(unpacker: str) -> None:
    module = event_files._unpacker()[0].__module__
    assert module == {"isal": "isal.igzip", "zlib": "gzip"}[unpacker]


def test_a_damaged_compressed_file_is_one_plain_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % (i * 7919) for i in range(100_000))))
    packed[2_000:2_100] = b"\xff" * 100
    file.write_bytes(bytes(packed))
    with pytest.raises(EventFileError):
        lines(file)
