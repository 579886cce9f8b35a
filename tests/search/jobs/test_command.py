"""Search of commands: any program is searched as a training function is, and its processes end with the search."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import meden
from meden import InputError
from meden.job_files import LOG, REPLIES, SAID, TOLD
from meden.search import Command
from meden.study.ledger import LEDGER

from .test_functions import rows_of, same

SRC = str(Path(meden.__file__).parents[1])
SPACE = {"lr": meden.LogUniform(1e-3, 1e-1)}
OPTIONS = {"rows": 30, "space": SPACE, "folds": 2, "budget": 3, "strategy": "random"}
OPTIONS |= {"recipe": meden.Recipe(epochs=4, early_stopping=None)}

SHELL = """
fold=$MEDEN_FOLD rate=$1 here=$(dirname "$MEDEN_JOB")
asked() { while ! tail -n 1 "$here/replies.jsonl" | grep "\\"epoch\\": $1,"; do sleep 0.002; done | grep -q true; }
for epoch in $(seq $MEDEN_EPOCHS); do
  printf 'a line of no account, epoch %d\\n' $epoch
  printf '{"epoch": %d, "stop_loss": %s.%s}\\n' $epoch $fold $((9 - epoch)); asked $epoch && break
done
sed "s/.*/$rate/" "$here/score.txt" > "$here/scored.txt"
printf '{"losses": "%s"}' "$here/scored.txt"
"""
PYTHON = """
import sys
from meden.job_files import JobFiles
job = JobFiles.here()
for epoch in range(1, job.told["epochs"] + 1):
    if job.report(epoch, (job.told["fold"] + 1) / epoch + job.params["lr"], train_loss=0.5):
        break
print("ended after", epoch, file=sys.stderr)
job.score("losses", [job.params["lr"] + row / 100 for row in job.rows("score")])
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


@pytest.fixture(autouse=True)
def this_meden(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SRC)


def bash(script, *words, **options):
    return Command(["bash", "-c", script, "train", *words], **options)


def python(script, *words):
    return Command([sys.executable, "-c", script, *words])


def job_of(tmp_path, **given):
    usual = {"params": {"lr": 0.1, "kind": "a b"}, "fit": [0, 1], "stop": [2], "score": [3, 4], "epochs": 3}
    return meden.Job(**usual | {"home": tmp_path / "job"} | given)


def test_a_shell_script_is_searched(tmp_path):
    study = meden.tune(bash(SHELL, "{lr}"), study_dir=tmp_path / "s", **OPTIONS)
    assert [trial.loss for trial in study.trials] == pytest.approx([trial.params["lr"] for trial in study.trials])
    row = study.trials[0].rows[1]
    assert row.stop_loss == pytest.approx([1.8, 1.7, 1.6, 1.5]) and row.num_epochs == 4
    kept = tmp_path / "s" / "jobs" / "configuration-1" / "fold-0-seed-0"
    assert (kept / LOG).read_text() == "".join(f"a line of no account, epoch {epoch}\n" for epoch in range(1, 5))
    assert {path.name for path in kept.iterdir()} == {LOG, "scored.txt"}
    assert "meden.search.Command(" in study.report(tmp_path / "r.md", format="md").read_text()
    same(study, meden.load_study(tmp_path / "s"))


def test_a_python_program_gives_what_its_function_gives_and_workers_change_nothing(tmp_path):
    def function(job):
        for epoch in range(1, job.epochs + 1):
            if job.report(epoch, (job.fold + 1) / epoch + job.params["lr"], 0.5):
                break
        return job.params["lr"] + job.score / 100

    recipe = meden.Recipe(epochs=6, early_stopping=meden.EarlyStopping(patience=2, min_delta=0.3))
    options = {**OPTIONS, "recipe": recipe}
    alone = meden.tune(python(PYTHON), study_dir=tmp_path / "a", **options)
    same(alone, meden.tune(function, **options))
    same(alone, meden.tune(python(PYTHON), study_dir=tmp_path / "b", jobs=2, **options))
    assert {row.num_epochs for row in rows_of(alone)} == {4, 5}  # stopped early, by fold
    assert "ended after" in next((tmp_path / "a").rglob(LOG)).read_text()


RACED = """
import math
from meden.job_files import JobFiles
job = JobFiles.here()
worse = abs(math.log10(job.params["lr"]) + 2)
for epoch in range(1, job.told["epochs"] + 1):
    if job.report(epoch, worse + 1 / epoch + job.told["fold"] / 10):
        break
job.score("losses", [worse + row / 1000 for row in job.rows("score")])
"""


def test_a_race_drops_what_loses():
    options = {**OPTIONS, "racing": True, "folds": 3, "budget": 11, "recipe": meden.Recipe(epochs=16)}
    study = meden.tune(python(RACED), **options)
    assert "dropped" in {trial.status for trial in study.trials}
    assert sum(row.num_epochs for row in rows_of(study)) < 11 * 3 * 16
    with pytest.raises(InputError, match="must report every epoch in a race"):
        meden.tune(bash("""echo '{"losses": [1]}'"""), **options)


def test_the_words_are_those_of_the_job():
    params = {"lr": 1e-5, "deep": True, "of": None, "kind": "a b", "n": 3}
    train = Command("env {lr} --n={n} ${lr} {other} {{n}} '{kind}' {deep} {of}")
    assert train.words(params) == ["env", "1e-05", "--n=3", "${lr}", "{other}", "{3}", "a b", "true", "null"]
    assert str(train) == "env {lr} --n={n} '${lr}' {other} {{n}} {kind} {deep} {of}"


def test_what_a_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OWN", "kept")
    seen = tmp_path / "seen.txt"
    script = f"""(echo $PWD $OWN $MEDEN_SEED $MEDEN_FOLD $MEDEN_EPOCHS "$1"; cat $MEDEN_JOB; echo
    cd $(dirname $MEDEN_JOB); cat fit.txt stop.txt score.txt; ls checkpoint -d) > {seen}; echo '{{"losses": [1, 2]}}'"""
    cwd = tmp_path / "there"
    cwd.mkdir()
    train, job = bash(script, "{kind}", cwd=cwd), job_of(tmp_path, seed=7, fold=2)
    assert train(job) == {"losses": [1, 2]}
    first, told, *rows = seen.read_text().splitlines()
    assert first == f"{cwd} kept 7 2 3 a b" and rows == ["0", "1", "2", "3", "4", "checkpoint"]
    assert '"params": {"lr": 0.1, "kind": "a b"}' in told and '"num_rows": null' in told
    assert not [name for name in (TOLD, SAID, REPLIES, LOG, "fit.txt") if (job.folder / name).exists()]


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("p.csv", "no,yes\n0.25,0.75\n0.5,0.5\n", [[0.25, 0.75], [0.5, 0.5]]),
        ("p.csv", "0.25,0.75\n0.5,0.5\n", [[0.25, 0.75], [0.5, 0.5]]),
        ("p.txt", "1\n-2e3\n", [1, -2000]),
        ("p.txt", "1 nan\n2 3\n\n", [[1, np.nan], [2, 3]]),
    ],
)
def test_answers_in_files(tmp_path, name, written, expected):
    (tmp_path / name).write_text(written)
    told = bash(f"""echo '{{"logits": ["{name}"]}}'""", cwd=tmp_path)(job_of(tmp_path))
    assert np.array_equal(told["logits"], expected, equal_nan=True)
    np.save(tmp_path / "p.npy", np.array(expected))
    told = bash("""echo '{"logits": "p.npy"}'""", cwd=tmp_path)(job_of(tmp_path))
    assert np.array_equal(told["logits"], expected, equal_nan=True)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo out of luck >&2; exit 3", "exit status 3; the last line of its log: out of luck"),
        ("""echo '{"losses": [1, 2]}'; exit 1""", "exit status 1"),
        ("echo going; kill -9 $$", "signal SIGKILL; the last line of its log: going"),
        ("echo all done", "must end by printing one of losses.*got none; the last line of its log: all done"),
        ('echo \'{"epoch": 1, "stop_loss": nan}\'', "lines of JSON, got .*nan"),
        ('echo \'{"epoch": 1, "stoploss": 0.5}\'', "got 'stoploss'"),
        ('echo \'{"epoch": 1.5, "stop_loss": 0.5}\'', "integer of at least 1, got 1.5"),
        ("echo '{\"epoch\": 1}'", "must be given the stop_loss"),
        ('echo \'{"epoch": 1, "stop_loss": "low"}\'', "must be a number, got 'low'"),
        ("""echo '{"losses": [1], "logits": [1]}'""", "one of .*, got losses, logits"),
        ("""echo '{"losses": [1]}'; echo '{"losses": [2]}'""", "submit its results once"),
        ("""echo '{"losses": "nowhere.txt"}'""", "file of numbers, got .*nowhere.txt"),
        ("""echo '{"losses": "x.pt"}'""", "npy, .csv or .txt"),
        ("""echo 'a b' > $(dirname $MEDEN_JOB)/x.txt; echo '{"losses": "job/x.txt"}'""", "file of numbers"),
    ],
)
def test_what_a_command_does_wrong_is_said_in_one_line(tmp_path, script, words):
    with pytest.raises(InputError, match=words) as caught:
        bash(script, cwd=tmp_path)(job_of(tmp_path))
    assert "\n" not in str(caught.value)


def test_objects_in_npy_files_are_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}]))
    with pytest.raises(InputError, match="file of numbers"):
        bash("""echo '{"losses": "p.npy"}'""", cwd=tmp_path)(job_of(tmp_path))


def test_other_lines_are_no_messages(tmp_path):
    lines = ["{", "{'epoch': 1}", '{"loss": 0.5}', '{"a": {"epoch": 1}}', "[1]", "x" * 200_000, "\xff\u20ac", "{}"]
    (tmp_path / "lines").write_text("\n".join(lines))
    job = job_of(tmp_path)
    script = f"""cat {tmp_path}/lines; printf '\\r\\n\\377'; printf '\\n{{"losses":[1,2]}}'"""
    assert bash(script)(job) == {"losses": [1, 2]}
    assert (job.folder / LOG).read_text() == "\n".join([*lines, "\ufffd", ""])


def test_a_long_answer_in_one_line(tmp_path):
    script = "import json; print(json.dumps({'losses': list(range(300_000))}))"
    assert len(python(script)(job_of(tmp_path))["losses"]) == 300_000


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "a string or a list of strings, got ''"),
        ([], "list of strings"),
        (["env", 3], "list of strings"),
        (7, "list of strings, got 7"),
        ('env "x', "No closing quotation"),
        ("no-such-program {lr}", "executable program, got 'no-such-program'"),
        ("./nothing.sh", "executable program"),
    ],
)
def test_no_command(command, words):
    with pytest.raises(InputError, match=words):
        Command(command)
    with pytest.raises(InputError, match="cwd must be a folder"):
        Command("env", cwd="/no/such/folder")


def test_a_program_that_a_parameter_names_is_looked_for_later(tmp_path):
    train = Command("{kind}")
    with pytest.raises(InputError, match=r"cannot be started: No such file.*'a b'"):
        train(job_of(tmp_path))


def test_a_lost_job_loses_its_configuration_and_the_study_goes_on(tmp_path):
    script = """grep -q '"configuration": 1' $MEDEN_JOB && { echo broken; exit 9; }
    echo '{"epoch": 1, "stop_loss": 0.5}'; sed 's/.*/0.5/' ${MEDEN_JOB%job.json}score.txt > ${MEDEN_JOB%job.json}s.txt
    echo "{\\"losses\\": \\"${MEDEN_JOB%job.json}s.txt\\"}" """
    with pytest.warns(UserWarning, match="2 of 6 jobs failed; .* exit status 9; the last line of its log: broken"):
        study = meden.tune(bash(script), study_dir=tmp_path, **OPTIONS)
    assert [trial.status for trial in study.trials] == ["ok", "failed", "ok"]


def test_a_changed_script_is_other_code_and_what_it_writes_is_not(tmp_path):
    (tmp_path / "train.sh").write_text(SHELL)
    words = ["bash", "-c", f"bash train.sh $0 2>errors.txt >> out.txt && : {'x' * 999} $0", "{lr}"]
    one = Command(words, cwd=tmp_path).contents()
    for name in ("errors.txt", "out.txt", "train.sh.bak"):
        (tmp_path / name).write_text("written")
    assert Command(words, cwd=tmp_path).contents() == one != Command([*words, "x"], cwd=tmp_path).contents()
    options = {**OPTIONS, "study_dir": tmp_path / "s", "budget": 1}
    train = Command("bash train.sh {lr}", cwd=tmp_path)
    whole = meden.tune(train, **options)
    same(whole, meden.tune(train, **options))
    (tmp_path / "train.sh").write_text(SHELL + "# another\n")
    with pytest.raises(InputError, match="code may have changed"):
        meden.tune(train, **options)


def runs(pid):
    """Say whether a process is there, and no corpse that nobody has taken away."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(runs, pids)):
            return True
        time.sleep(0.01)
    return False


def test_what_a_command_leaves_running_ends_with_it(tmp_path):
    script = f"""sleep 300 & echo $! > {tmp_path}/pid; (while echo more; do :; done) & echo '{{"losses": [1, 2]}}'"""
    assert bash(script)(job_of(tmp_path)) == {"losses": [1, 2]}
    assert gone([int((tmp_path / "pid").read_text())])


SEARCH = """
import signal, sys, meden
from meden.search import Command
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have been told to ignore it
train = Command(["bash", "-c", "sleep 300 & echo $$ $! > pids.part; mv pids.part pids; wait"])
meden.tune(train, rows=9, space={"lr": meden.Uniform(0, 1)}, folds=2, budget=1, study_dir="s", jobs=int(sys.argv[1]))
"""


@pytest.mark.parametrize(("signum", "jobs"), [("SIGKILL", 1), ("SIGINT", 1), ("SIGKILL", 2)])
def test_a_command_does_not_outlive_its_search(tmp_path, signum, jobs):
    """No handler runs at a kill: another process sees the pipe closed."""
    search = subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(jobs)], cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not (tmp_path / "pids").exists():
            assert search.poll() is None
            time.sleep(0.01)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(runs, pids))
        os.kill(search.pid, getattr(signal, signum))
        assert search.wait(20) != 0 and gone(pids)
    finally:
        search.kill()
        search.wait()


KILLING = """
import os, signal, sys
from pathlib import Path
from meden.job_files import JobFiles
job, kept = JobFiles.here(), Path(JobFiles.here().told["checkpoint_dir"]) / "epoch.txt"
done = int(kept.read_text()) if kept.exists() else 0
moment = job.told["configuration"] == 1 and job.told["fold"] == 1
for epoch in range(done + 1, job.told["epochs"] + 1):
    if job.report(epoch, 1 / epoch + job.params["lr"]):
        break
    kept.write_text(str(epoch))
    if moment and epoch == 2 and os.environ.get("KILLS"):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
print("began after", done)
job.score("losses", [job.params["lr"] + row / 100 for row in job.rows("score")])
"""


BEGUN = """
import sys, meden
from meden.search import Command
train = Command([sys.executable, "train.py"], cwd=sys.argv[1])
options = dict(rows=30, space={"lr": meden.LogUniform(1e-3, 1e-1)}, folds=2, budget=3, strategy="random")
recipe = meden.Recipe(epochs=4, early_stopping=None)
meden.tune(train, study_dir=sys.argv[1] + "/killed", recipe=recipe, **options)
"""


def test_a_killed_search_goes_on_where_the_command_was(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(KILLING)
    train = Command([sys.executable, "train.py"], cwd=tmp_path)
    whole = meden.tune(train, **OPTIONS)
    killed = tmp_path / "killed"
    environment = os.environ | {"KILLS": "1"}
    began = subprocess.run(
        [sys.executable, "-c", BEGUN, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL, check=False
    )
    assert began.returncode == -signal.SIGKILL
    assert (killed / LEDGER).read_bytes().count(b"\n") == 4  # a header and three jobs
    same(whole, meden.tune(train, study_dir=killed, **OPTIONS))
    logs = {path.parent.name: path.read_text() for path in (killed / "jobs" / "configuration-1").rglob(LOG)}
    assert logs == {"fold-0-seed-0": "began after 0\n", "fold-1-seed-0": "began after 2\n"}
