"""Following a call log through half lines and rotations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmwatch.cli.incident_log import LONGEST_LINE
from llmwatch.cli.log_follower import LogFollower
from llmwatch.records import CallLog
from tests.cli.incident_calls import call
from tests.cli.test_good_calls import good
from tests.conftest import SCALE

Follow = Callable[..., LogFollower]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def numbers(follower: LogFollower) -> list[int]:
    """The numbers of the calls that have come."""
    return [int(record.call_id[:8], 16) for record in follower.poll()]


@pytest.fixture
def follow(path: Path) -> Iterator[Follow]:
    """Follows the log, and closes what it opened."""
    followers: list[LogFollower] = []

    def start(tail: int | None = None) -> LogFollower:
        followers.append(LogFollower(str(path), tail=tail))
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_new_lines_come_once(path: Path, follow: Follow) -> None:
    """Each look yields the lines that are new; a file that is not there yet is waited for."""
    follower = follow()
    assert (numbers(follower), follower.missing) == ([], True)
    append(path, good(1) + good(2))
    assert (numbers(follower), follower.missing) == ([1, 2], False)
    assert numbers(follower) == []
    append(path, good(3))
    assert numbers(follower) == [3]
    assert follower.skipped == 0


def test_half_a_line_counts_once_it_is_whole(path: Path, follow: Follow) -> None:
    """A line is read in any number of pieces."""
    follower = follow()
    line = good(1)
    append(path, line[:50])
    assert numbers(follower) == []
    append(path, line[50:-1])
    assert numbers(follower) == []
    append(path, line[-1:] + good(2))
    assert numbers(follower) == [1, 2]
    assert follower.skipped == 0


def test_a_rotation_loses_nothing(path: Path, follow: Follow) -> None:
    """The rest of the old file comes first, and the half line of a killed process is counted."""
    follower = follow()
    append(path, good(1))
    assert numbers(follower) == [1]
    append(path, good(2) + b'{"half')
    path.rename(f"{path}.1")
    append(path, good(3))
    assert numbers(follower) == [2, 3]
    assert follower.skipped == 1


def test_several_rotations_between_two_looks(path: Path, follow: Follow) -> None:
    """Files that came and went in between are read, in their order."""
    follower = follow()
    log = CallLog(path, max_bytes=1)
    for number in range(1, 6):
        log(call(number))
        assert log.flush(20 * SCALE)
        if number in (1, 4):
            found = numbers(follower)
            assert found == ([1] if number == 1 else [2, 3, 4])
    assert numbers(follower) == [5]


def test_between_two_renames_the_old_file_is_kept(path: Path, follow: Follow) -> None:
    """At the instant of a rotation at which the log has no file, nothing is lost and nothing fails."""
    follower = follow()
    append(path, good(1))
    path.rename(f"{path}.1")
    assert numbers(follower) == []
    append(path, good(2))
    assert numbers(follower) == [2]


def test_a_file_that_was_cut_is_read_from_its_beginning(path: Path, follow: Follow) -> None:
    """copytruncate of logrotate, say."""
    follower = follow()
    append(path, good(1) + good(2))
    assert numbers(follower) == [1, 2]
    path.write_bytes(good(3))
    assert numbers(follower) == [3]


def test_another_file_of_the_name_is_followed(path: Path, follow: Follow) -> None:
    """A file that was replaced, and is none of the rotated ones, is read from its beginning."""
    follower = follow()
    append(path, good(1))
    assert numbers(follower) == [1]
    append(path.with_name("new"), good(2))
    os.replace(path.with_name("new"), path)
    assert numbers(follower) == [2]


def test_only_the_tail_of_a_large_file_is_read(path: Path, follow: Follow) -> None:
    """The line in which the tail begins is left out, unless the tail begins with it."""
    append(path, good(1) + good(2) + good(3))
    assert numbers(follow(len(good(2) + good(3)))) == [2, 3]
    assert numbers(follow(len(good(2) + good(3)) - 1)) == [3]
    assert numbers(follow(10**9)) == [1, 2, 3]


def test_a_line_without_an_end_is_not_held(path: Path, follow: Follow) -> None:
    """A line longer than any record is skipped, and the next one read."""
    follower = follow()
    append(path, good(1) + b"x" * (LONGEST_LINE + 2_000_000))
    assert numbers(follower) == [1]
    assert len(follower._rest) < LONGEST_LINE
    append(path, b"x\n" + good(2))
    assert numbers(follower) == [2]
    assert follower.skipped == 1


def test_lines_that_are_no_calls_are_counted(path: Path, follow: Follow) -> None:
    """Damage is skipped and counted, and blank lines are nothing."""
    follower = follow()
    append(path, b"no json\n\n{}\n" + good(1))
    assert numbers(follower) == [1]
    assert follower.skipped == 2
