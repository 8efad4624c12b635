"""The append-only record of a run: one SQLite file in WAL mode, readable by any SQLite tool through its views.

Every event is on disk before what it announces happens. Nothing is ever changed or deleted; everything else about a
run (counts, front, lineage, report) is computed from here, and a resume folds it into a `Memo`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import MachineError
from agent.events import (
    Adapted,
    Answered,
    Asked,
    Bred,
    Committed,
    Conversation,
    DirectiveWritten,
    Drawn,
    Event,
    Generalised,
    GenerationEnded,
    Learned,
    Memo,
    Mended,
    Rejected,
    Repeated,
    RunEnded,
    RunStarted,
    Settled,
    Steered,
)
from agent.fitness import Fitness
from agent.genome import Genome
from agent.individual import Birth, Duplicate, Failure, Individual, Outcome, Variant
from agent.llm import CoolDownEnded, CoolDownStarted, Message
from agent.records import (
    read_birth,
    read_completion,
    read_lesson,
    read_outcome,
    read_variant,
    write_birth,
    write_completion,
    write_lesson,
    write_outcome,
    write_variant,
)

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
"""

_AT_ONCE = 500


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
        """Appends events, all of them or none. One that is there already (a resume passes by it again) is left as it is."""
        ticket = _Ticket([_row(event) for event in events])
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:  # else the thread that had the lock before wrote it along with its own
                self._write()
        if ticket.error:
            raise MachineError(f"The journal cannot be written: {ticket.error}.") from ticket.error

    def _write(self) -> None:
        """All that waits, of all threads, in one transaction: the disk is waited for once."""
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
        except BaseException:  # a Ctrl-C: those who wait for this thread must not wait in vain, one of them will write
            self._waiting.extendleft(reversed(batch))
            raise
        else:
            for ticket in batch:
                ticket.done = True
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def events(self, *kinds: str, key: str | None = None) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
        """(time in seconds since the epoch, kind, key, data) in order of writing; of all kinds if none is named.

        `key`: only this one's, and its calls' (`0001/0`, `0001/1`, ...). Raises MachineError if the file was damaged.
        """
        where, values = _where(kinds, key)
        return _parsed(self._read(f"SELECT time, kind, key, data FROM events {where} ORDER BY seq", values))

    def without_texts(self, *kinds: str) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
        """The same without prompts, answers and sources, so that ten thousand children are read in a moment."""
        where, values = _where(kinds, hint="+")
        short = "CASE kind WHEN 'asked' THEN '{}' WHEN 'answered' THEN json_remove(data, '$.text') "
        short += "WHEN 'bred' THEN json_remove(data, '$.files') WHEN 'mended' THEN json_remove(data, '$.files') ELSE data END"
        return _parsed(self._read(f"SELECT time, kind, key, {short} FROM events {where} ORDER BY seq", values))

    def outlines(self) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
        """Of each child what it was drawn as, which blocks it changed and how it ended, without its evidence."""
        where, values = _where(("drawn", "bred", "mended", "settled"), hint="+")
        short = "CASE kind WHEN 'drawn' THEN json_remove(data, '$.lessons') WHEN 'settled' THEN json_remove(data, '$.evidence', "
        short += "'$.log', '$.files') ELSE json_object('changed', json(coalesce(json_extract(data, '$.changed'), '[]'))) END"
        return _parsed(self._read(f"SELECT time, kind, key, {short} FROM events {where} ORDER BY seq", values))

    def costs(self) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
        """Every row with what it says of costs, and nothing else: what `Spend.recall` reads."""
        numbers = "json_remove(data, '$.text')"
        held = "json_remove(data, '$.files', '$.fitness', '$.reason', '$.log', '$.evidence.curve', '$.evidence.sizes_by_block')"
        short = f"CASE kind WHEN 'started' THEN data WHEN 'answered' THEN {numbers} WHEN 'settled' THEN {held} "
        short += "WHEN 'repeated' THEN data ELSE '{}' END"
        return _parsed(self._read(f"SELECT time, kind, key, {short} FROM events ORDER BY seq", []))

    def spent(self) -> tuple[int, int, float, int, int]:
        """(calls that were answered, those of unknown price, dollars, tokens in, tokens out) of all models."""
        usd, into, out = (f"json_extract(data, '$.{name}')" for name in ("usd", "tokens_in", "tokens_out"))
        query = f"SELECT count(*), count(*) - count({usd}), total({usd}), total({into}), total({out}) FROM events WHERE kind = ?"
        calls, unpriced, dollars, tokens_in, tokens_out = self._read(query, ["answered"])[0]
        return calls, unpriced, dollars, int(tokens_in), int(tokens_out)

    def count(self, kind: str) -> int:
        return int(self._read("SELECT count(*) FROM events WHERE kind = ?", [kind])[0][0])

    def last_key(self, kind: str) -> str | None:
        """Of the event of this kind that was written last."""
        rows = self._read("SELECT key FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", [kind])
        return rows[0][0] if rows else None

    def seconds(self) -> float:
        """In which some process worked on the run: between its events. A step back of the wall clock counts as nothing."""
        spans = "SELECT kind, time - lag(time) OVER (ORDER BY seq) AS span FROM events"
        return float(self._read(f"SELECT total(max(0, span)) FROM ({spans}) WHERE kind <> 'started' AND span NOT NULL", [])[0][0])

    def _read(self, query: str, values: Sequence[str]) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise MachineError(f"The journal cannot be read: {error}.") from error

    def memo(self, like: Genome) -> Memo:
        """What was done already. `like`: a genome whose rules hold for all of the run."""
        births = {key: read_birth(data) for _, _, key, data in self.events("drawn")}
        variants = {
            key: read_variant(data, births[key], like) for _, _, key, data in self.events("bred", "mended") if key in births
        }
        outcomes: dict[str, Individual | Failure] = {}
        history: list[Birth | Outcome | Generalised | DirectiveWritten] = []
        for _, kind, key, data in self.events("drawn", "settled", "generalised", "directive"):
            if kind == "drawn":
                history.append(births[key])
            elif kind == "generalised":
                history.append(Generalised(key, tuple(data["sources"]), data["text"]))
            elif kind == "directive":
                history.append(DirectiveWritten(key, data["text"], data["origin"]))
            elif data["outcome"] != "seed":
                history.append(outcome := read_outcome(data, births[key], variants.get(key)))
                if not isinstance(outcome, Duplicate):
                    outcomes[key] = outcome
        answers = {}
        for _, _, key, data in self.events("answered"):
            id, _, call = key.partition("/")
            answers[id, int(call)] = read_completion(data)
        commits = {key: data["commit"] for _, _, key, data in self.events("committed")}
        lessons = {key: read_lesson(data) for _, _, key, data in self.events("learned")}
        repeats = {int(key): _read_repeat(int(key), data) for _, _, key, data in self.events("repeated")}
        talks, asked = self._conversations(variants.keys() - outcomes.keys()), self._asked(births.keys() - outcomes.keys())
        return Memo(answers, variants, outcomes, births, commits, talks, asked, lessons, repeats, tuple(history))

    def _asked(self, ids: Set[str]) -> dict[tuple[str, int], tuple[Message, ...]]:
        found = {}
        for _, _, key, data in self.events("asked"):
            id, _, call = key.partition("/")
            if id in ids:
                found[id, int(call)] = tuple(Message(m["role"], m["text"]) for m in data["messages"])
        return found

    def _conversations(self, ids: Set[str]) -> dict[str, Conversation]:
        answered: dict[str, list[str]] = {}
        for _, _, key, data in self.events("answered"):
            answered.setdefault(key.partition("/")[0], []).append(data["text"])
        messages = {id: said for (id, _), said in self._asked(ids).items()}
        mended = {key for _, _, key, _ in self.events("mended")}
        return {
            id: Conversation(messages[id], answered[id][-1], len(answered[id]), int(id in mended))
            for id in ids
            if id in answered and id in messages
        }

    def unanswered(self) -> int:
        """Calls that were asked and of which no answer is here. Raises MachineError as `events` does."""
        answered = {key for _, _, key, _ in self.events("answered")}
        return sum(key not in answered for _, _, key, _ in self.events("asked"))

    def close(self) -> None:
        with self._lock:
            self._db.close()


@dataclass(eq=False)
class _Ticket:
    """What one thread wants written."""

    rows: list[tuple[float, str, str, str]]
    done: bool = False
    error: sqlite3.Error | None = None


def _parsed(rows: list[Any]) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
    """Many texts are parsed as one list: calling the parser takes longer than parsing a row."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        texts = json.loads(f"[{','.join(data for *_, data in some)}]")
        for (moment, kind, key, _), data in zip(some, texts, strict=True):
            yield moment, kind, key, data


def _where(kinds: Sequence[str], key: str | None = None, hint: str = "") -> tuple[str, list[str]]:
    """`hint`: `+` keeps SQLite from going through its index, which would have it sort nearly all rows afterwards."""
    parts = [f"{hint}kind IN ({','.join('?' * len(kinds))})"] if kinds else []
    parts += ["(key = ? OR (key > ? AND key < ?))"] if key is not None else []
    # "0" comes right behind "/".
    values = [*kinds, *([key, f"{key}/", f"{key}0"] if key is not None else [])]
    return f"WHERE {' AND '.join(parts)}" if parts else "", values


def _read_repeat(training_seed: int, data: Mapping[str, Any]) -> Repeated:
    fitness = Fitness(data["fitness"]) if data["fitness"] else None
    return Repeated(training_seed, fitness, data["reason"], data["seconds"], data.get("gpus", 0.0))


def _row(event: Event) -> tuple[float, str, str, str]:
    """(time, kind, key, data)"""
    kind, key, data = _record(event)
    # Escaped to ASCII: a model's answer may hold half of a surrogate pair, which has no UTF-8.
    return time.time(), kind, key, json.dumps(data, separators=(",", ":"))


def _record(event: Event) -> tuple[str, str, dict[str, Any]]:
    """(kind, key, data): an event is unique by kind and key."""
    match event:
        case RunStarted():
            with_what = {"isolation": event.isolation, "layers": list(event.layers)}
            on_what = {"devices": list(event.devices), "basis": dict(event.basis)}
            since = {"accepted": list(event.accepted), "until_anew": event.until_anew}
            return "started", _moment(), {"config": dict(event.config), **with_what, **on_what, **since}
        case Drawn(birth):
            return "drawn", birth.id, write_birth(birth)
        case Asked(id, call, model, messages, temperature, max_tokens):
            said = [{"role": m.role, "text": m.text} for m in messages]
            asked = {"model": model, "messages": said, "temperature": temperature, "max_tokens": max_tokens}
            return "asked", f"{id}/{call}", asked
        case Answered(id, call, completion):
            return "answered", f"{id}/{call}", write_completion(completion)
        case Rejected(id, call, stage, reasons):
            return "rejected", f"{id}/{call}", {"stage": stage, "reasons": list(reasons)}
        case Bred(Variant() as variant):
            return "bred", variant.id, write_variant(variant)
        case Mended(Variant() as variant, reason):
            return "mended", variant.id, {**write_variant(variant), "reason": reason}
        case Settled(outcome, seconds, gpus):
            held = {} if seconds is None else {"seconds": seconds, "gpus": gpus}
            return "settled", outcome.id, {**write_outcome(outcome), **held}
        case Repeated(training_seed, fitness, reason, seconds, gpus):
            values = dict(fitness.values) if fitness else None
            told = {"fitness": values, "reason": reason, "seconds": seconds, "gpus": gpus}
            return "repeated", str(training_seed), told
        case Learned(lesson):
            return "learned", lesson.id, write_lesson(lesson)
        case Generalised(id, sources, text):
            return "generalised", id, {"sources": list(sources), "text": text}
        case DirectiveWritten(name, text, origin):
            return "directive", name, {"text": text, "origin": origin}
        case Adapted(number, level, reason):
            return "adapted", str(number), {"level": level, "reason": reason}
        case Steered(what, text):
            return "steered", _moment(), {"what": what, "text": text}
        case GenerationEnded(number, population, elites, front, hypervolume):
            sets = {"population": list(population), "elites": list(elites), "front": list(front)}
            return "generation", str(number), {**sets, "hypervolume": hypervolume}
        case Committed(id, branch, commit):
            return "committed", id, {"branch": branch, "commit": commit}
        case CoolDownStarted(model, seconds, reason, alone):
            return "rests", _moment(), {"model": model, "seconds": seconds, "reason": reason, "alone": alone}
        case CoolDownEnded(model):
            return "returned", _moment(), {"model": model}
        case RunEnded(state, reason):
            return "ended", _moment(), {"state": state, "reason": reason}


def _moment() -> str:
    """A key for what may happen several times: a run is started and ended once for each process."""
    return f"{time.time_ns()}"


