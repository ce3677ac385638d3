"""The lifecycle: an explicit table of every (state, event) pair, transcripts, and a machine that takes random steps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minihub.schedulers.base import Job, JobEnding, JobPhase
from minihub.servers import lifecycle as life
from minihub.servers.model import (
    NO_SECRETS,
    Attempt,
    Failure,
    FailureKind,
    Secrets,
    ServerOptions,
    State,
    StopCause,
)

CLOCKS = life.Clocks(spawn_timeout_s=300, start_timeout_s=120, cancel_repeat_s=5)
NOW = 1000.0


def make_attempt(state=State.SUBMITTING, **changes):
    base = Attempt(
        id="0123456789ab",
        user="ada",
        tag="minihub-h-0123456789ab",
        options=ServerOptions(1, 1, 512),
        secrets=Secrets("t", "r"),
        state=state,
        created_at=NOW - 10,
        changed_at=NOW - 10,
        deadline=NOW + 290,
    )
    return base.with_(**changes)


def make_job(phase=JobPhase.WAITING, state="PENDING", **changes):
    values = {
        "id": "7",
        "user": "ada",
        "name": "minihub-h-0123456789ab",
        "state": state,
        "phase": phase,
        "submitted_at": NOW - 5,
    }
    return Job(**{**values, **changes})


STATES = {
    "submitting": make_attempt(),
    "doubted": make_attempt(doubt_until=NOW - 1),
    "queued": make_attempt(State.QUEUED, job_id="7", submitted_at=NOW - 5),
    "starting": make_attempt(State.STARTING, job_id="7", submitted_at=NOW - 5, node="n1"),
    "starting+port": make_attempt(State.STARTING, job_id="7", submitted_at=NOW - 5, node="n1", port=9),
    "ready": make_attempt(State.READY, job_id="7", submitted_at=NOW - 5, node="n1", port=9, deadline=None),
    "stopping": make_attempt(
        State.STOPPING, job_id="7", deadline=None, stop_cause=StopCause.USER, cancel_asked_at=NOW - 1
    ),
    "stopping-no-id": make_attempt(State.STOPPING, deadline=None, stop_cause=StopCause.USER),
    "stopped": make_attempt(State.STOPPED, job_id="7", deadline=None),
    "failed": make_attempt(State.FAILED, job_id="7", deadline=None, failure=Failure(FailureKind.DIED, "x")),
}
EVENTS = {
    "submitted": life.Submitted("7"),
    "submit failed": life.SubmitFailed(Failure(FailureKind.REJECTED, "no")),
    "doubted": life.SubmitDoubted(NOW + 40),
    "waiting": life.JobSeen(make_job()),
    "hopeless": life.JobSeen(make_job(reason="PartitionTimeLimit", hopeless=True)),
    "running": life.JobSeen(make_job(JobPhase.RUNNING, "RUNNING", node="n1")),
    "ending": life.JobSeen(make_job(JobPhase.ENDING, "COMPLETING")),
    "ended": life.JobSeen(make_job(JobPhase.ENDED, "FAILED")),
    "odd": life.JobSeen(make_job(JobPhase.UNKNOWN, "WIBBLE")),
    "missing": life.JobMissing(NOW),
    "job ended": life.JobEnded(JobEnding("FAILED", 1)),
    "port": life.PortReported(9),
    "proved": life.Proved(),
    "unsafe": life.FoundUnsafe("open to all"),
    "not reached": life.NotReached("no such host"),
    "stop": life.StopWanted(StopCause.LOGOUT),
    "log": life.LogRead("bye"),
    "adopted": life.Adopted(),
    "judged": life.Judged(NOW - 1, None),
    "postponed": life.Postponed(NOW + 7200),
    "idle": life.StopWanted(StopCause.IDLE, 7200),
    "tick": life.Ticked(),
    "late tick": life.Ticked(),
}
S, Q, T, R, X, D, F = (
    State.SUBMITTING, State.QUEUED, State.STARTING, State.READY, State.STOPPING, State.STOPPED, State.FAILED,
)  # fmt: skip
C, P, L, E, K = life.Cancel, life.Prove, life.ListNow, life.Explain, life.CloseConnections
# One row a state, one column an event: the next state and the kinds of commands.
TABLE = {
    "submitting": {
        "submitted": (Q, [L]), "submit failed": (F, [K]), "doubted": (S, [L]), "waiting": (Q, []), "running": (T, []),
        "hopeless": (X, [K, C]),
        "ending": (Q, [L]), "ended": (Q, [E]), "odd": (Q, []), "missing": (S, []), "job ended": (F, [K]), "port": (S, [L]),
        "proved": (S, []), "unsafe": (S, []), "not reached": (S, []), "stop": (X, [L]), "log": (S, []), "judged": (S, []), "postponed": (S, []), "idle": (S, []), "adopted": (S, []), "tick": (S, []), "late tick": (X, [L]),
    },
    "doubted": {
        "submitted": (Q, [L]), "submit failed": (F, [K]), "doubted": (S, [L]), "waiting": (Q, []), "running": (T, []),
        "hopeless": (X, [K, C]),
        "ending": (Q, [L]), "ended": (Q, [E]), "odd": (Q, []), "missing": (S, [L]), "job ended": (F, [K]), "port": (S, [L]),
        "proved": (S, []), "unsafe": (S, []), "not reached": (S, []), "stop": (X, [L]), "log": (S, []), "judged": (S, []), "postponed": (S, []), "idle": (S, []), "adopted": (S, []), "tick": (S, []), "late tick": (X, [L]),
    },
    "queued": {
        "submitted": (Q, []), "submit failed": (Q, []), "doubted": (Q, []), "waiting": (Q, []), "running": (T, []),
        "hopeless": (X, [K, C]),
        "ending": (Q, [L]), "ended": (Q, [E]), "odd": (Q, []), "missing": (Q, [L]), "job ended": (F, [K]), "port": (Q, [L]),
        "proved": (Q, []), "unsafe": (Q, []), "not reached": (Q, []), "stop": (X, [K, C]), "log": (Q, []), "judged": (Q, []), "postponed": (Q, []), "idle": (Q, []), "adopted": (Q, []), "tick": (Q, []), "late tick": (X, [K, C]),
    },
    "starting": {
        "submitted": (T, []), "submit failed": (T, []), "doubted": (T, []), "waiting": (Q, [K]), "running": (T, []),
        "hopeless": (X, [K, C]),
        "ending": (T, [L]), "ended": (T, [E]), "odd": (T, []), "missing": (T, [L]), "job ended": (F, [K]), "port": (T, [P]),
        "proved": (R, []), "unsafe": (X, [K, C]), "not reached": (T, []), "stop": (X, [K, C]), "log": (T, []), "judged": (T, []), "postponed": (T, []), "idle": (T, []), "adopted": (T, []), "tick": (T, []), "late tick": (X, [K, C]),
    },
    "starting+port": {
        "submitted": (T, []), "submit failed": (T, []), "doubted": (T, []), "waiting": (Q, [K]), "running": (T, []),
        "hopeless": (X, [K, C]),
        "ending": (T, [L]), "ended": (T, [E]), "odd": (T, []), "missing": (T, [L]), "job ended": (F, [K]), "port": (T, []),
        "proved": (R, []), "unsafe": (X, [K, C]), "not reached": (T, []), "stop": (X, [K, C]), "log": (T, []), "judged": (T, []), "postponed": (T, []), "idle": (T, []), "adopted": (T, [P]), "tick": (T, []), "late tick": (X, [K, C]),
    },
    "ready": {
        "submitted": (R, []), "submit failed": (R, []), "doubted": (R, []), "waiting": (Q, [K]), "running": (R, []),
        "hopeless": (X, [K, C]),
        "ending": (R, [L]), "ended": (R, [E]), "odd": (R, []), "missing": (R, [L]), "job ended": (F, [K]), "port": (R, []),
        "proved": (R, []), "unsafe": (R, []), "not reached": (R, []), "stop": (X, [K, C]), "log": (R, []), "judged": (R, []), "postponed": (R, []), "idle": (X, [K, C]), "adopted": (R, []), "tick": (R, []), "late tick": (R, []),
    },
    "stopping": {
        "submitted": (X, []), "submit failed": (X, []), "doubted": (X, []), "waiting": (X, []), "running": (X, []),
        "hopeless": (X, []),
        "ending": (D, [K]), "ended": (D, [K]), "odd": (X, []), "missing": (X, [L]), "job ended": (D, [K]), "port": (X, []),
        "proved": (X, []), "unsafe": (X, []), "not reached": (X, []), "stop": (X, []), "log": (X, []), "judged": (X, []), "postponed": (X, []), "idle": (X, []), "adopted": (X, []), "tick": (X, []), "late tick": (X, [C]),
    },
    "stopping-no-id": {
        "submitted": (X, [C]), "submit failed": (D, [K]), "doubted": (X, [L]), "waiting": (X, [C]), "running": (X, [C]),
        "hopeless": (X, [C]),
        "ending": (D, [K]), "ended": (D, [K]), "odd": (X, [C]), "missing": (X, []), "job ended": (D, [K]), "port": (X, []),
        "proved": (X, []), "unsafe": (X, []), "not reached": (X, []), "stop": (X, []), "log": (X, []), "judged": (X, []), "postponed": (X, []), "idle": (X, []), "adopted": (X, []), "tick": (X, []), "late tick": (X, []),
    },
    "stopped": dict.fromkeys(EVENTS, (D, [])),
    "failed": dict.fromkeys(EVENTS, (F, [])),
}  # fmt: skip


def test_the_table_has_every_pair():
    assert set(TABLE) == set(STATES)
    assert all(set(row) == set(EVENTS) for row in TABLE.values())
    assert {type(event) for event in EVENTS.values()} == set(life.Event.__args__)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_step_follows_the_table(state, event):
    now = NOW + 5000 if event == "late tick" else NOW
    after, commands = life.step(STATES[state], EVENTS[event], now, CLOCKS)

    assert (after.state, [type(c) for c in commands]) == TABLE[state][event]


def test_final_states_never_change_again():
    for state in ("stopped", "failed"):
        for event in EVENTS.values():
            assert life.step(STATES[state], event, NOW, CLOCKS) == (STATES[state], ())


def play(attempt, *script):
    """Run events; return the attempt and all commands."""
    commands = []
    for at, event in script:
        attempt, new = life.step(attempt, event, NOW + at, CLOCKS)
        commands += new
    return attempt, commands


def test_from_start_to_ready():
    attempt, commands = play(
        make_attempt(),
        (0.1, life.Submitted("7")),
        (0.2, life.JobSeen(make_job())),
        (0.5, life.PortReported(40000)),
        (0.6, life.JobSeen(make_job(JobPhase.RUNNING, "RUNNING", node="n1", ends_at=NOW + 3600))),
        (0.7, life.Proved()),
    )

    assert (attempt.state, attempt.node, attempt.port, attempt.deadline) == (State.READY, "n1", 40000, None)
    assert commands == [life.ListNow(), life.ListNow(), life.Prove()]


def test_a_stop_that_wins_the_race_against_sbatch_cancels_the_late_answer():
    attempt, commands = play(
        make_attempt(), (0.1, life.StopWanted(StopCause.USER)), (0.2, life.Submitted("7"))
    )

    assert attempt.state is State.STOPPING
    assert commands == [life.ListNow(), life.Cancel("7")]


def test_the_cancel_is_repeated_until_a_listing_confirms_the_end():
    running = life.JobSeen(make_job(JobPhase.RUNNING, "RUNNING", node="n1"))
    attempt, commands = play(
        STATES["ready"],
        (0, life.StopWanted(StopCause.USER)),
        (3, running),
        (6, running),
        (8, life.Ticked()),
        (12, life.Ticked()),
    )
    assert commands == [life.CloseConnections(), *[life.Cancel("7")] * 3]

    attempt, _ = play(attempt, (13, life.JobMissing(NOW + 13)))
    assert attempt.state is State.STOPPING
    attempt, _ = play(attempt, (14, life.JobMissing(NOW + 14)))
    assert attempt.state is State.STOPPED


def test_one_listing_without_the_job_proves_nothing():
    attempt, _ = play(
        STATES["ready"],
        (0, life.JobMissing(NOW)),
        (1, life.JobSeen(make_job(JobPhase.RUNNING, "RUNNING", node="n1"))),
        (2, life.JobMissing(NOW + 2)),
    )
    assert attempt.state is State.READY

    _, commands = play(attempt, (3, life.JobMissing(NOW + 3)))
    assert commands == [life.Explain("7")]


def test_a_listing_asked_before_sbatch_answered_proves_nothing():
    queued, _ = play(make_attempt(), (1, life.Submitted("7")))
    after, commands = play(
        queued,
        (2, life.JobMissing(NOW + 0.5)),
        (2, life.JobMissing(NOW + 0.9)),
        (2, life.JobMissing(NOW + 1)),
    )

    assert (after.state, after.misses, commands) == (State.QUEUED, 0, [])


def test_a_doubtful_submission_is_given_up_only_when_it_can_no_longer_run():
    doubted, _ = play(make_attempt(), (0, life.SubmitDoubted(NOW + 40)))
    still, _ = play(doubted, *((at, life.JobMissing(NOW + at)) for at in (1, 10, 39)))
    assert still.state is State.SUBMITTING

    found, _ = play(still, (39.5, life.JobSeen(make_job())))
    assert (found.state, found.job_id, found.doubt_until) == (State.QUEUED, "7", None)

    lost, _ = play(still, (41, life.JobMissing(NOW + 41)), (42, life.JobMissing(NOW + 42)))
    assert (lost.state, lost.failure.kind) == (State.FAILED, FailureKind.DOUBTFUL)


def test_a_stopped_doubtful_submission_waits_for_its_end_too():
    doubted, _ = play(
        make_attempt(), (0, life.SubmitDoubted(NOW + 40)), (1, life.StopWanted(StopCause.LOGOUT))
    )
    still, _ = play(doubted, (2, life.JobMissing(NOW + 2)), (3, life.JobMissing(NOW + 3)))
    assert still.state is State.STOPPING

    _, commands = play(still, (4, life.JobSeen(make_job())))
    assert commands == [life.Cancel("7")]
    gone, _ = play(still, (41, life.JobMissing(NOW + 41)), (42, life.JobMissing(NOW + 42)))
    assert gone.state is State.STOPPED


def test_the_spawn_timeout_tells_slurms_reason():
    waiting = life.JobSeen(make_job(reason="Priority", reason_words="Others are ahead."))
    attempt, commands = play(STATES["queued"], (1, waiting), (291, life.Ticked()))

    assert commands == [life.CloseConnections(), life.Cancel("7")]
    assert (attempt.state, attempt.stop_cause) == (State.STOPPING, StopCause.SPAWN_TIMEOUT)
    assert attempt.failure.message == "Spawn failed: Timeout"
    assert attempt.failure.reason == "The job did not start within 5 min. Others are ahead."
    attempt, _ = play(attempt, (292, life.JobSeen(make_job(JobPhase.ENDED, "CANCELLED"))))
    assert attempt.state is State.FAILED


def test_a_job_that_can_never_start_is_not_waited_for():
    never = make_job(reason="PartitionTimeLimit", reason_words="It asks for too much time.", hopeless=True)
    attempt, commands = play(STATES["queued"], (1, life.JobSeen(make_job())), (2, life.JobSeen(never)))

    assert commands == [life.CloseConnections(), life.Cancel("7")]
    assert (attempt.state, attempt.stop_cause) == (State.STOPPING, StopCause.NEVER_STARTS)
    attempt, commands = play(attempt, (8, life.JobSeen(never)))
    assert commands == [life.Cancel("7")]
    attempt, _ = play(attempt, (9, life.JobSeen(make_job(JobPhase.ENDED, "CANCELLED"))))
    assert (attempt.state, attempt.failure.kind) == (State.FAILED, FailureKind.REJECTED)
    assert attempt.failure.reason == "It asks for too much time."
    assert attempt.failure.advice


def test_the_start_timeout_reads_the_log_before_it_cancels():
    attempt, commands = play(STATES["starting"], (291, life.Ticked()))

    assert commands == [life.CloseConnections(), life.Cancel("7", read_log_first=True)]
    assert attempt.failure.kind is FailureKind.START_TIMEOUT
    assert attempt.failure.message == "Jupyter did not come up in time."
    assert "rescue" in attempt.failure.advice


def test_a_server_that_the_hub_cannot_reach_is_not_blamed_on_its_user():
    attempt, commands = play(STATES["starting+port"], (5, life.NotReached("The name n1 is unknown.")))
    assert (attempt.state, commands) == (State.STARTING, [])
    attempt, _ = play(attempt, (291, life.Ticked()))

    assert attempt.failure.kind is FailureKind.START_TIMEOUT
    assert attempt.failure.message == "Jupyter came up, but the hub cannot reach it."
    assert attempt.failure.reason.endswith("said where Jupyter listens. The name n1 is unknown.")
    assert "the people who run this hub" in attempt.failure.advice


def test_a_job_that_finishes_by_itself_when_ready_is_no_failure():
    attempt, _ = play(STATES["ready"], (1, life.JobEnded(JobEnding("COMPLETED", 0))))

    assert (attempt.state, attempt.failure) == (State.STOPPED, None)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (JobEnding("TIMEOUT"), FailureKind.TIME_LIMIT),
        (JobEnding("OUT_OF_MEMORY"), FailureKind.OUT_OF_MEMORY),
        (JobEnding("NODE_FAIL"), FailureKind.NODE_FAILED),
        (JobEnding("PREEMPTED"), FailureKind.PREEMPTED),
        (JobEnding("CANCELLED", cancelled_by="root"), FailureKind.CANCELLED),
        (JobEnding("FAILED", 1), FailureKind.EXITED),
        (None, FailureKind.VANISHED),
    ],
)
def test_every_ending_is_explained(ending, kind):
    attempt, _ = play(STATES["ready"], (1, life.JobEnded(ending, "last words")))

    assert (attempt.state, attempt.failure.kind, attempt.log_tail) == (State.FAILED, kind, "last words")


def test_a_requeued_job_waits_anew():
    attempt, _ = play(STATES["ready"], (1, life.JobSeen(make_job())))

    assert (attempt.state, attempt.port, attempt.node, attempt.deadline) == (
        State.QUEUED,
        None,
        None,
        NOW + 301,
    )


def test_a_starting_server_has_its_time_again_when_a_new_hub_takes_over():
    """The hub may have been gone for longer than Jupyter may take."""
    attempt, commands = play(STATES["starting+port"], (5000, life.Adopted()), (5119, life.Ticked()))
    assert (attempt.state, commands) == (State.STARTING, [life.Prove()])

    attempt, _ = play(attempt, (5121, life.Ticked()))
    assert attempt.state is State.STOPPING


class OneServer(RuleBasedStateMachine):
    """A scheduler that does as it likes, and one attempt after another: the promises hold at every step."""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.ids = itertools.count(1)
        self.attempt = make_attempt()
        self.jobs: dict[str, str] = {}  # id -> waiting | running | gone
        self.sbatch_runs = True
        self.cancelled: set[str] = set()
        self.listings_without = 0

    def feed(self, event):
        before = self.attempt
        self.attempt, commands = life.step(before, event, self.now, CLOCKS)
        for command in commands:
            if isinstance(command, life.Cancel):
                self.cancelled.add(command.job_id)
            if isinstance(command, life.Explain):
                assert self.jobs[command.job_id] == "gone"
        if before.state.is_final:
            assert self.attempt is before

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds):
        self.now += seconds
        self.feed(life.Ticked())

    @precondition(lambda self: self.sbatch_runs)
    @rule(answer=st.sampled_from(["id", "id", "lost", "no"]))
    def sbatch_ends(self, answer):
        self.sbatch_runs = False
        if answer == "no":
            self.feed(life.SubmitFailed(Failure(FailureKind.REJECTED, "no")))
            return
        job_id = str(next(self.ids))
        self.jobs[job_id] = "waiting"
        self.feed(life.Submitted(job_id) if answer == "id" else life.SubmitDoubted(self.now + 40))

    @rule()
    def sbatch_is_lost_without_a_job(self):
        if self.sbatch_runs:
            self.sbatch_runs = False
            self.feed(life.SubmitDoubted(self.now + 40))

    @rule(to=st.sampled_from(["running", "gone", "waiting"]))
    def the_job_changes(self, to):
        for job_id, state in self.jobs.items():
            if state != "gone":
                self.jobs[job_id] = to

    @rule(cancel_works=st.booleans())
    def the_scheduler_cancels(self, cancel_works):
        for job_id in self.cancelled if cancel_works else ():
            self.jobs[job_id] = "gone"

    @rule(shows_ended=st.booleans(), hopeless=st.sampled_from([False, False, False, True]))
    def a_listing_comes(self, shows_ended, hopeless):
        for job_id, state in self.jobs.items():
            phase = {"waiting": JobPhase.WAITING, "running": JobPhase.RUNNING, "gone": JobPhase.ENDED}[state]
            if state != "gone" or (shows_ended and self.attempt.job_id in (None, job_id)):
                is_hopeless = hopeless and phase is JobPhase.WAITING
                self.feed(life.JobSeen(make_job(phase, state, id=job_id, node="n1", hopeless=is_hopeless)))
                if is_hopeless:
                    assert self.attempt.state in (State.STOPPING, State.STOPPED, State.FAILED)
                    assert self.attempt.state.is_final or job_id in self.cancelled
                return
        self.feed(life.JobMissing(self.now))

    @rule(port=st.integers(1, 65535))
    def a_port_is_reported(self, port):
        self.feed(life.PortReported(port))

    @rule(safe=st.booleans())
    def jupyter_answers(self, safe):
        self.feed(life.Proved() if safe else life.FoundUnsafe("open"))

    @precondition(lambda self: self.jobs and all(state == "gone" for state in self.jobs.values()))
    @rule(state=st.sampled_from(["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", None]))
    def the_end_is_explained(self, state):
        self.feed(life.JobEnded(JobEnding(state) if state else None))

    @rule(cause=st.sampled_from(list(StopCause)))
    def somebody_stops(self, cause):
        self.feed(life.StopWanted(cause))

    @precondition(lambda self: self.attempt.state.is_final and not self.sbatch_runs)
    @rule()
    def a_new_start(self):
        self.attempt = make_attempt(created_at=self.now, changed_at=self.now, deadline=self.now + 300)
        self.jobs, self.cancelled, self.sbatch_runs = {}, set(), True

    @invariant()
    def failed_always_has_a_reason(self):
        assert (self.attempt.state is State.FAILED) == (
            self.attempt.failure is not None and self.attempt.state.is_final
        )

    @invariant()
    def every_job_is_known_or_looked_for_or_being_cancelled(self):
        if self.attempt.state.is_final:
            for job_id, state in self.jobs.items():
                # What is left of a doubted submission is a tombstone's late job: the listing cancels it by its tag.
                assert state == "gone" or self.attempt.job_id is None or self.attempt.misses >= 2, job_id

    @invariant()
    def secrets_are_kept_as_long_as_they_are_of_use(self):
        assert (self.attempt.secrets == NO_SECRETS) is self.attempt.state.is_final

    @invariant()
    def waiting_has_a_limit(self):
        if self.attempt.state in (State.SUBMITTING, State.QUEUED, State.STARTING):
            assert self.attempt.deadline is not None

    @invariant()
    def ready_has_a_way_to_it(self):
        if self.attempt.state is State.READY:
            assert self.attempt.job_id is not None


OneServer.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestOneServer = OneServer.TestCase
