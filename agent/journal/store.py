"""The append-only record of a run: one SQLite file in WAL mode, readable by any SQLite tool through its views.

Every event is on disk before the run acts on it. Nothing is ever changed or deleted. Everything else about a run (counts,
front, lineage, report) is computed from the journal, and a resume reads from it what was done already.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.errors import MachineError
from agent.journal.codec import Row, write_event
from agent.journal.events import CHECK_ID, Event

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL,
    UNIQUE (kind, key)
);
CREATE VIEW IF NOT EXISTS variants AS
    SELECT b.seq, b.time, b.key AS id, json_extract(d.data, '$.generation') AS generation,
           json_extract(d.data, '$.operator') AS operator, json_extract(b.data, '$.files') AS files
    FROM events b JOIN events d ON d.kind = 'drawn' AND d.key = b.key WHERE b.kind = 'bred';
CREATE VIEW IF NOT EXISTS individuals AS
    SELECT seq, time, key AS id, json_extract(data, '$.fitness') AS fitness,
           json_extract(data, '$.evidence') AS evidence
    FROM events WHERE kind = 'settled' AND json_extract(data, '$.outcome') = 'trained';
CREATE VIEW IF NOT EXISTS failures AS
    SELECT seq, time, key AS id, json_extract(data, '$.stage') AS stage, json_extract(data, '$.reason') AS reason
    FROM events WHERE kind = 'settled' AND json_extract(data, '$.outcome') = 'failed';
CREATE VIEW IF NOT EXISTS llm_calls AS
    SELECT a.seq, a.time, a.key AS call, json_extract(q.data, '$.model') AS model, json_extract(a.data, '$.usd') AS usd,
           json_extract(a.data, '$.tokens_in') AS tokens_in, json_extract(a.data, '$.tokens_out') AS tokens_out,
           json_extract(a.data, '$.seconds') AS seconds, json_extract(q.data, '$.messages') AS prompt,
           json_extract(a.data, '$.text') AS answer
    FROM events a JOIN events q ON q.kind = 'asked' AND q.key = a.key WHERE a.kind = 'answered';
CREATE VIEW IF NOT EXISTS lessons AS
    SELECT seq, time, key AS id, json_extract(data, '$.operator') AS operator, json_extract(data, '$.blocks') AS blocks,
           json_extract(data, '$.verdict') AS verdict, json_extract(data, '$.effects') AS effects,
           json_extract(data, '$.intention') AS intention, json_extract(data, '$.insight') AS insight,
           json_extract(data, '$.reason') AS reason, json_extract(data, '$.change') AS change
    FROM events WHERE kind = 'learned';
CREATE VIEW IF NOT EXISTS readings AS
    SELECT seq, time, substr(key, 1, instr(key, '/') - 1) AS id,
           CAST(substr(key, instr(key, '/') + 1) AS INTEGER) AS training_seed,
           json_extract(data, '$.fitness') AS fitness, json_extract(data, '$.reason') AS reason
    FROM events WHERE kind = 'reading';
CREATE VIEW IF NOT EXISTS retrainings AS
    SELECT seq, time, json_extract(data, '$.id') AS id, key, json_extract(data, '$.values') AS validation,
           json_extract(data, '$.test_values') AS test, json_extract(data, '$.reason') AS reason
    FROM events WHERE kind = 'retrained';
CREATE VIEW IF NOT EXISTS verdicts AS
    SELECT e.seq, e.time, e.key AS confirmation, json_extract(v.value, '$.id') AS id, json_extract(v.value, '$.role') AS role,
           json_extract(v.value, '$.word') AS word, json_extract(v.value, '$.text') AS text
    FROM events e, json_each(e.data, '$.verdicts') v WHERE e.kind = 'verdicts';
"""

_PARSED_AT_ONCE = 500
"""How many rows have their JSON parsed together."""


class LlmTotals(NamedTuple):
    """Calls, costs and tokens of all models together."""

    calls: int
    """Answered calls."""
    unpriced_calls: int
    """Answered calls whose price is unknown: `usd` leaves them out."""
    usd: float
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    """Of `tokens_in`: from the providers' caches. Earlier versions did not count them."""
    estimated_calls: int
    """Answered calls of which a provider did not count all tokens: at least a part is characters / 4."""


class Journal:
    """One run's events. Writing is safe from several threads; each write is durable when `record` returns.

    Threads that write at the same time share one transaction.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises MachineError if the file cannot be opened or is not a journal."""
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        try:
            address = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
            self._db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=30)
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT seq FROM events LIMIT 1")
        except sqlite3.Error as error:
            raise MachineError(f"The journal {path} cannot be opened: {error}.") from error

    def record(self, *events: Event) -> None:
        """Appends all of the events, or none. An event that is there already, as after a resume, is left as it is."""
        ticket = _Ticket([_row(event) for event in events])
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:  # else the thread that held the lock before has written this ticket too
                self._write()
        if ticket.error:
            raise MachineError(f"The journal cannot be written: {ticket.error}.") from ticket.error

    def _write(self) -> None:
        """Writes the waiting tickets of all threads in one transaction, so that there is only one wait for the disk."""
        batch: list[_Ticket] = []
        with contextlib.suppress(IndexError):
            while True:
                batch.append(self._waiting.popleft())
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                self._db.executemany("INSERT OR IGNORE INTO events (time, kind, key, data) VALUES (?, ?, ?, ?)", ticket.rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            for ticket in batch:
                ticket.done, ticket.error = True, error
        except BaseException:  # a Ctrl-C here: put the batch back, so that one of the waiting threads writes it
            self._waiting.extendleft(reversed(batch))
            raise
        else:
            for ticket in batch:
                ticket.done = True
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def events(self, *kinds: str, key: str | None = None) -> Iterator[Row]:
        """Complete rows in the order of writing; rows of all kinds if none is named.

        `key`: only the rows of this id, and those of its calls (`0001/0`, `0001/1`, ...).
        Raises MachineError if the file was damaged.
        """
        where, values = _where(kinds, key)
        return _parsed(self._query(f"SELECT time, kind, key, data FROM events {where} ORDER BY seq", values))

    def events_without_texts(self, *kinds: str) -> Iterator[Row]:
        """The same without prompts, answers and sources, so that ten thousand candidates are read in a moment."""
        where, values = _where(kinds, no_index=True)
        data = "CASE kind WHEN 'asked' THEN '{}' WHEN 'answered' THEN json_remove(data, '$.text') "
        data += "WHEN 'bred' THEN json_remove(data, '$.files') WHEN 'mended' THEN json_remove(data, '$.files') ELSE data END"
        return _parsed(self._query(f"SELECT time, kind, key, {data} FROM events {where} ORDER BY seq", values))

    def candidate_outlines(self) -> Iterator[Row]:
        """The recipes of each candidate, the blocks it changed and how it ended: enough for one line of a table."""
        where, values = _where(("drawn", "bred", "mended", "settled"), no_index=True)
        data = "CASE kind WHEN 'drawn' THEN json_remove(data, '$.lessons') WHEN 'settled' THEN json_remove(data, '$.evidence', "
        data += "'$.log', '$.files') ELSE json_object('changed', json(coalesce(json_extract(data, '$.changed'), '[]'))) END"
        return _parsed(self._query(f"SELECT time, kind, key, {data} FROM events {where} ORDER BY seq", values))

    def cost_rows(self) -> Iterator[Row]:
        """Every row, with only the data about costs, which `Budget.recall` reads."""
        answered = "json_remove(data, '$.text')"
        evidence = ("curve", "calls_by_block", "mistakes", "printed")
        texts = ("files", "fitness", "reason", "log", *(f"evidence.{name}" for name in evidence))
        settled = "json_remove(data, " + ", ".join(f"'$.{name}'" for name in texts) + ")"
        whole = ("started", "repeated", "seed_failed", "retrained", "reading")
        data = "CASE kind " + "".join(f"WHEN '{kind}' THEN data " for kind in whole)
        data += f"WHEN 'answered' THEN {answered} WHEN 'settled' THEN {settled} ELSE '{{}}' END"
        return _parsed(self._query(f"SELECT time, kind, key, {data} FROM events ORDER BY seq", []))

    def llm_totals(self) -> LlmTotals:
        """Totals over all answered calls of all models."""
        names = ("usd", "tokens_in", "tokens_out", "tokens_cached", "estimated")
        usd, *counted = (f"json_extract(data, '$.{name}')" for name in names)
        sums = ", ".join(f"total({one})" for one in counted)
        query = f"SELECT count(*), count(*) - count({usd}), total({usd}), {sums} FROM events WHERE kind = ?"
        calls, unpriced, dollars, *tokens = self._query(query, ["answered"])[0]
        return LlmTotals(calls, unpriced, dollars, *map(int, tokens))

    def count(self, kind: str) -> int:
        """How many events of this kind there are."""
        return int(self._query("SELECT count(*) FROM events WHERE kind = ?", [kind])[0][0])

    def last_key(self, kind: str) -> str | None:
        """The key of the last event of this kind; None if there is none."""
        rows = self._query("SELECT key FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", [kind])
        return rows[0][0] if rows else None

    def seconds_worked(self) -> float:
        """Wall time during which some process worked on the run, computed from the times of the events.

        If the wall clock was set back between two events, the time between them counts as 0.
        """
        spans = "SELECT kind, time - lag(time) OVER (ORDER BY seq) AS span FROM events"
        query = f"SELECT total(max(0, span)) FROM ({spans}) WHERE kind <> 'started' AND span NOT NULL"
        return float(self._query(query, [])[0][0])

    def _query(self, query: str, values: Sequence[str]) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise MachineError(f"The journal cannot be read: {error}.") from error

    def unanswered(self) -> int:
        """How many model calls for the search were made and have no answer in the journal. Raises MachineError as `events`."""
        answered = {key for _, _, key, _ in self.events("answered")}
        asked = (key for _, _, key, _ in self.events("asked") if not key.startswith(f"{CHECK_ID}/"))
        return sum(key not in answered for key in asked)

    def close(self) -> None:
        with self._lock:
            self._db.close()


@dataclass(eq=False)
class _Ticket:
    """The rows that one thread wants to write, and whether they were written."""

    rows: list[tuple[float, str, str, str]]
    done: bool = False
    error: sqlite3.Error | None = None


def _parsed(rows: list[Any]) -> Iterator[Row]:
    """Parses many texts as one list: calling the parser takes longer than parsing a row."""
    for start in range(0, len(rows), _PARSED_AT_ONCE):
        some = rows[start : start + _PARSED_AT_ONCE]
        joined = f"[{','.join(data for *_, data in some)}]"
        texts = json.loads(joined)
        if "\\ud" in joined:  # half characters, which older versions let in
            texts = _valid(texts)
        for (moment, kind, key, _), data in zip(some, texts, strict=True):
            yield moment, kind, key, data


def _valid(value: Any) -> Any:
    """The value with every half of a character replaced: UTF-8 cannot write it."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_valid(one) for one in value]
        case dict():
            return {key: _valid(one) for key, one in value.items()}
    return value


def _where(kinds: Sequence[str], key: str | None = None, *, no_index: bool = False) -> tuple[str, list[str]]:
    """The WHERE clause and its values.

    `no_index`: reads the table in its own order. Through the index on `kind`, SQLite would have to sort nearly all rows.
    """
    column = "+kind" if no_index else "kind"
    parts = [f"{column} IN ({','.join('?' * len(kinds))})"] if kinds else []
    parts += ["(key = ? OR (key > ? AND key < ?))"] if key is not None else []
    # All keys that begin with `key/` are between `key/` and `key0`: "0" is the character after "/".
    values = [*kinds, *([key, f"{key}/", f"{key}0"] if key is not None else [])]
    return f"WHERE {' AND '.join(parts)}" if parts else "", values


def _row(event: Event) -> tuple[float, str, str, str]:
    """(time, kind, key, data as JSON)"""
    kind, key, data = write_event(event)
    # Escaped to ASCII: a model's answer may hold half of a surrogate pair, which has no UTF-8.
    return time.time(), kind, key, json.dumps(data, separators=(",", ":"))
