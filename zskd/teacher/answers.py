"""Answers of a callable teacher, each kept as soon as it is there, so that no text is asked for twice.

Labels of a pool are kept in shards of thousands of texts (`zskd.teacher.labelling`). A callable may charge for every
text, so its answers are kept one by one, in an SQLite file beside the shards. An answer has a checksum, and a damaged
one counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zskd.errors import RunError
from zskd.system.files import write_problem

logger = logging.getLogger(__name__)

FOLDER = "labels"  # of the cache; shards are in it as well
NAME = "answers.sqlite"
_WAIT = 60.0  # seconds for another process that writes
_MOST = 500  # texts of one look-up
_TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (text BLOB PRIMARY KEY, logits BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS repeated (run TEXT PRIMARY KEY, texts INTEGER NOT NULL)",
)


class AnswerStore:
    """Logits by text, in a file.

    Args:
        path: the file; it is made with the first answer. In a cache that cannot be written, none is kept. None: as long
            as the process lives.

    Example:
        `folder` is an empty folder.

        >>> import numpy as np
        >>> store = AnswerStore(folder / "answers.sqlite")
        >>> store.keep(["a fine film"], np.array([[0.5, -0.5]], dtype=np.float32))
        >>> [None if row is None else row.tolist() for row in store.find(["a dull film", "a fine film"])]
        [None, [0.5, -0.5]]
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._open: sqlite3.Connection | None = None
        self._writable = path is None or write_problem(path) is None

    def find(self, texts: Sequence[Any]) -> list[np.ndarray | None]:
        """The logits ``(num_labels,)`` float32 of each text (or pair of texts); None where there are none.

        Raises:
            RunError: the file is damaged.
        """
        if self._is_new():
            return [None] * len(texts)
        keys = [_key(text) for text in texts]
        held: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _MOST):
            part = keys[start : start + _MOST]
            marks = ",".join("?" * len(part))
            held |= dict(self._run(f"SELECT text, logits FROM answers WHERE text IN ({marks})", part))
        found = [_logits(key, held.get(key)) for key in keys]
        damaged = sum(row is None and key in held for key, row in zip(keys, found, strict=True))
        if damaged:
            logger.warning("%s: %d answers are damaged; the teacher is asked for them again", self.path, damaged)
        return found

    def keep(self, texts: Sequence[Any], logits: np.ndarray) -> None:
        """Write the logits ``(rows, num_labels)`` float32 of texts; they are on the disk when this returns.

        Raises:
            RunError: they cannot be written, or the file is damaged.
        """
        if not self._writable:
            return
        rows = []
        for text, row in zip(texts, logits, strict=True):
            key, content = _key(text), np.ascontiguousarray(row, dtype="<f4").tobytes()
            rows.append((key, zlib.crc32(key + content).to_bytes(4, "little") + content))
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows, many=True)

    def repeated(self, run: str) -> int:
        """Texts of calls that failed, for which a run has paid in vain (`note_repeated`)."""
        if self._is_new():
            return 0
        rows = self._run("SELECT texts FROM repeated WHERE run = ?", [run])
        return int(rows[0][0]) if rows else 0

    def note_repeated(self, run: str, texts: int) -> None:
        """Set the number that `repeated` gives."""
        if not self._writable:
            return
        self._run("INSERT OR REPLACE INTO repeated VALUES (?, ?)", [(run, texts)], many=True)

    def _is_new(self) -> bool:
        return self._open is None and (self.path is None or not self.path.is_file())

    def _run(self, statement: str, values: Sequence[Any], *, many: bool = False) -> list[tuple[Any, ...]]:
        try:
            if self._open is None:
                if self.path is not None:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                # Shards are prepared in a thread, but only one thread asks.
                self._open = sqlite3.connect(self.path or ":memory:", timeout=_WAIT, check_same_thread=False)
                for table in _TABLES:
                    self._open.execute(table)
            with self._open:  # one transaction
                cursor = self._open.executemany(statement, values) if many else self._open.execute(statement, values)
                return cursor.fetchall()
        except (sqlite3.Error, OSError) as error:
            self._open = None
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            advice = "remove it, and the teacher is asked again" if damaged else "name another --cache-dir"
            raise RunError(f"{self.path}: the teacher's answers cannot be kept there ({error}); {advice}") from error


def _key(text: Any) -> bytes:
    return hashlib.blake2b(json.dumps(text).encode(), digest_size=16).digest()


def _logits(key: bytes, held: bytes | None) -> np.ndarray | None:
    if held is None or len(held) % 4 or zlib.crc32(key + held[4:]).to_bytes(4, "little") != held[:4]:
        return None
    return np.frombuffer(held[4:], dtype="<f4").astype(np.float32)
