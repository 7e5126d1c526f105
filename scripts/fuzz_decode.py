"""Fuzz the two ways from a file to pixels with mutated real files: ``vlp.corpus.decode`` and ``anonymize.dicom``.

    python scripts/fuzz_decode.py [--inputs 100000] [--seed 0] [--workers 2] [--findings FILE.jsonl]
    python scripts/fuzz_decode.py --again INDEX [--seed 0]      # one input, in this process
    python scripts/fuzz_decode.py --write INDEX FILE            # its bytes

Every input goes through ``decode_bytes`` and the crop; DICOM also through ``stored_frames``, and one in ``--process-every``
through ``anonymize.dicom.instance.process``. A finding is a process that dies, more than 2 s of processor time, a resident
memory over 1 GB, or an exception other than the documented refusal. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import mmap
import os
import resource
import signal
import struct
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import fuzz_inputs
import fuzz_sources
import pydicom

from anonymize.dicom.config import DicomConfig
from anonymize.dicom.frames import stored_frames
from anonymize.dicom.instance import process, quiet
from anonymize.keys import Keys
from vlp.corpus.decode import Undecodable, decode_bytes
from vlp.corpus.frame import working_image

SECONDS, BYTES = 2.0, 1 << 30  # of the caller's processor time and of resident memory that one input may cost
_ADDRESS_SPACE = 6 << 30  # what protects the machine; a finding long before
_STALLED = 60.0  # seconds of wall time: waits that cost no processor time
_STATE = struct.Struct("<qdqqq")  # index, processor time at its start, inputs done, decoded, refused


@dataclass
class Worker:
    """One child: what it does next, and where it writes how far it is."""

    number: int
    pid: int
    state: mmap.mmap
    since: float = 0.0  # wall time when the parent first saw the present index
    seen: int = -1


class Target:
    """Both entry points."""

    def __init__(self, folder: Path, process_every: int) -> None:
        quiet()
        cv2.setNumThreads(1)
        self._file, self._folder, self._every = folder / f"input-{os.getpid()}.dcm", folder, process_every
        self._config, self._keys = DicomConfig(pixels="off"), Keys(b"\x01" * 32)

    def run(self, data: bytes, kind: str, index: int) -> str:
        """Reason of the refusal, or "decoded". Raises what no input may raise."""
        try:
            decoded = decode_bytes(data)
            working_image(decoded.pixels, decoded.spacing_mm, 64)
            outcome = "decoded"
        except Undecodable as error:
            outcome = error.reason
        if kind == "dicom":
            self._frames(data)
            if index % self._every == 0:
                self._file.write_bytes(data)
                try:
                    process(self._file, self._folder, f"out-{os.getpid()}", self._config, self._keys)
                except OSError:
                    raise  # it would stop the batch
                except Exception:  # the batch puts the file into quarantine
                    pass
        return outcome

    def _frames(self, data: bytes) -> None:
        try:
            stored_frames(pydicom.dcmread(io.BytesIO(data), force=True))
        except Exception:  # any type is in its contract; dying, hanging and filling the memory are not
            return


def _child(worker: Worker, start: int, options: argparse.Namespace, sources: list[fuzz_sources.Source]) -> None:
    """Run the inputs ``start``, ``start + workers`` and so on."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    log = open(f"{options.findings}.trace-{worker.number}", "w")  # noqa: SIM115 - open until the process ends
    faulthandler.enable(log)
    quiet_output = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet_output, 1)
    os.dup2(quiet_output, 2)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        target = Target(Path(folder), options.process_every)
        _, _, done, decoded, refused = _STATE.unpack(worker.state[: _STATE.size])
        reasons: Counter[str] = Counter()
        for index in range(start, options.inputs, options.workers):
            source, data = fuzz_inputs.make(sources, options.seed, index)
            began = time.thread_time()
            worker.state[: _STATE.size] = _STATE.pack(index, began, done, decoded, refused)
            try:
                outcome = target.run(data, source.kind, index)
            except Exception as error:
                outcome = "exception"
                where = traceback.extract_tb(error.__traceback__)[-1]
                _found(
                    options,
                    index,
                    source.name,
                    "exception",
                    f"{type(error).__name__} {where.filename}:{where.lineno}",
                )
            done += 1
            decoded, refused = decoded + (outcome == "decoded"), refused + (outcome != "decoded")
            reasons[outcome] += 1
            worker.state[: _STATE.size] = _STATE.pack(index, time.thread_time() + 1e9, done, decoded, refused)
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > BYTES:
                _found(options, index, source.name, "memory", f"{source.kind} {outcome}")
                os._exit(7)
            if time.thread_time() - began > SECONDS:
                _found(options, index, source.name, "slow", f"{time.thread_time() - began:.1f} s")
    os._exit(0)


def _found(options: argparse.Namespace, index: int, name: str, what: str, detail: str) -> None:
    with open(options.findings, "a") as stream:
        stream.write(json.dumps({"index": index, "seed": options.seed, "what": what, "source": name, "detail": detail}))
        stream.write("\n")


def _start(worker: Worker, start: int, options: argparse.Namespace, sources: list[fuzz_sources.Source]) -> None:
    worker.since, worker.seen = time.monotonic(), -1
    worker.pid = os.fork()
    if not worker.pid:
        try:
            _child(worker, start, options, sources)
        except BaseException:
            os._exit(9)


def _busy_seconds(pid: int) -> float:
    """Of the first thread: a decoder that was given up (anonymize.dicom.watched) runs on in another, and nobody waits."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(options: argparse.Namespace) -> dict[str, object]:
    """The whole run; returns its counts."""
    sources = fuzz_sources.sources()
    Path(options.findings).write_text("")
    began = time.monotonic()
    workers = []
    for number in range(options.workers):
        workers.append(Worker(number, 0, mmap.mmap(-1, _STATE.size)))
        workers[-1].state[: _STATE.size] = _STATE.pack(-1, 1e9, 0, 0, 0)
        _start(workers[-1], options.first + number, options, sources)
    running, told = list(workers), began
    while running:
        time.sleep(0.1)
        for worker in list(running):
            index, started, *_ = _STATE.unpack(worker.state[: _STATE.size])
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                if index != worker.seen:
                    worker.seen, worker.since = index, time.monotonic()
                elif started < 1e8 and (
                    _busy_seconds(worker.pid) - started > SECONDS + 1 or time.monotonic() - worker.since > _STALLED
                ):
                    os.kill(worker.pid, signal.SIGKILL)
                    os.waitpid(worker.pid, 0)
                    _found(options, index, _name(sources, options.seed, index), "hang", "")
                    _start(worker, index + options.workers, options, sources)
                continue
            if os.waitstatus_to_exitcode(status) == 0:
                running.remove(worker)
                continue
            code = os.waitstatus_to_exitcode(status)
            if code != 7:
                trace = Path(f"{options.findings}.trace-{worker.number}").read_text().splitlines()
                _found(options, index, _name(sources, options.seed, index), f"crash {code}", " | ".join(trace[:8]))
            _start(worker, index + options.workers, options, sources)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(json.dumps(_counts(workers, began, options)), flush=True)
    return _counts(workers, began, options)


def _name(sources: list[fuzz_sources.Source], seed: int, index: int) -> str:
    return fuzz_inputs.make(sources, seed, index)[0].name


def _counts(workers: list[Worker], began: float, options: argparse.Namespace) -> dict[str, object]:
    done, decoded, refused = (
        sum(column) for column in zip(*(_STATE.unpack(w.state[: _STATE.size])[2:] for w in workers), strict=True)
    )
    seconds = time.monotonic() - began
    findings = len(Path(options.findings).read_text().splitlines())
    return {
        "inputs": done,
        "decoded": decoded,
        "refused": refused,
        "findings": findings,
        "seconds": round(seconds, 1),
        "per_second": round(done / seconds, 1),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="go on from this input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--process-every", type=int, default=8)
    parser.add_argument("--findings", default="fuzz-findings.jsonl")
    parser.add_argument("--again", type=int)
    parser.add_argument("--write", nargs=2, metavar=("INDEX", "FILE"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.write:
        data = fuzz_inputs.make(fuzz_sources.sources(), options.seed, int(options.write[0]))[1]
        Path(options.write[1]).write_bytes(data)
        return 0
    if options.again is not None:
        source, data = fuzz_inputs.make(fuzz_sources.sources(), options.seed, options.again)
        print(source.name, len(data), "bytes", flush=True)
        faulthandler.enable()
        with tempfile.TemporaryDirectory() as folder:
            print(Target(Path(folder), 1).run(data, source.kind, options.again))
        return 0
    counts = run(options)
    print(json.dumps(counts))
    return 1 if counts["findings"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
