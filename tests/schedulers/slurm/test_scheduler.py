"""The scheduler on a transport that replays answers."""

from __future__ import annotations

import asyncio
import re

import pytest

from minihub.clock import ManualClock
from minihub.config import parse_settings
from minihub.errors import (
    CommandTimedOut,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    OptionsError,
    OutputNotUnderstood,
    SchedulerUnavailable,
    SubmitDoubtful,
    SubmitRejected,
)
from minihub.schedulers.base import Endpoint, Job, JobPhase, Scheduler
from minihub.schedulers.slurm.scheduler import SlurmScheduler
from minihub.transports.base import CommandResult
from tests.schedulers.slurm.replay import FakeTransport, failed, make_request, ok, read_recorded

CONFIG = read_recorded("show_config").stdout
SACCTMGR = "sacctmgr -n -P show"
OUTAGE = failed("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")


def squeue(*jobs):
    """Answer a listing with (id, user, state) in the format that was asked for."""

    def answer(argv, _user):
        separator = re.match(r"<[^>]+>", argv[-1])[0]
        heading = "JOBID|USER|STATE|NODELIST|SUBMIT_TIME|START_TIME|END_TIME|PARTITION|ACCOUNT"
        lines = [(heading, "REASON", "NAME", "COMMENT")]
        for job_id, user, state in jobs:
            fixed = f"{job_id}|{user}|{state}|node1|2026-11-22T23:23:28|N/A|N/A|compute|def"
            lines.append((fixed, "None", "tag", "tag 40123"))
        return ok("".join(f"{separator}{separator.join(line)}{separator}\n" for line in lines))

    return answer


@pytest.fixture
def transport():
    return FakeTransport(
        {
            "scontrol show config": ok(CONFIG),
            "scontrol --all --oneliner show partition": read_recorded("show_partition"),
            "scontrol --all --oneliner show reservation": read_recorded("show_reservation"),
            "sinfo": read_recorded("sinfo_nodes"),
            f"{SACCTMGR} qos": read_recorded("show_qos"),
            f"{SACCTMGR} assoc": read_recorded("show_accounts"),
            f"{SACCTMGR} user minihub": read_recorded("show_user_minihub"),
            f"{SACCTMGR} user alice": read_recorded("show_user_alice"),
            f"{SACCTMGR} user dave": read_recorded("show_user_dave"),
            "env TZ=UTC squeue": squeue(("1", "alice", "RUNNING"), ("2", "bob", "PENDING")),
            "sbatch": ok("17\n"),
            "sbatch --parsable --test-only": read_recorded("test_only_ok"),
            "date": ok("+0000\n"),
            "scancel": ok(),
        }
    )


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def scheduler(transport, clock):
    settings = parse_settings({"slurm": {"service_user": "minihub", "extra_args": ["--constraint=avx2"]}})
    made = SlurmScheduler(settings, transport, clock)
    yield made
    await made.close()


def hide_jobs(transport, level="None"):
    transport.answers["scontrol show config"] = ok(CONFIG.replace("= none", "= jobs,usage"))
    shown = read_recorded("show_user_minihub").stdout.replace("Operator", level)
    transport.answers[f"{SACCTMGR} user minihub"] = ok(shown)


def test_it_is_a_scheduler(scheduler):
    made: Scheduler = scheduler
    assert made.name == "slurm"


class TestSubmit:
    async def test_as_the_user_with_the_script_on_stdin(self, scheduler, transport):
        assert await scheduler.submit(make_request()) == "17"

        (argv, user, stdin) = transport.calls[0]
        assert (argv[0], argv[-1], user) == ("sbatch", "--constraint=avx2", "alice")
        assert stdin == b"#!/bin/sh\nSECRET=hush\n"
        assert scheduler.measures.run == {"sbatch": 1}

    async def test_refused(self, scheduler, transport):
        transport.answers["sbatch"] = read_recorded("sbatch_bad_qos")
        with pytest.raises(SubmitRejected):
            await scheduler.submit(make_request())

    async def test_never_sent(self, scheduler, transport):
        transport.answers["sbatch"] = ConnectFailed("no route")
        with pytest.raises(SchedulerUnavailable):
            await scheduler.submit(make_request())

    @pytest.mark.parametrize("error", [ConnectionLost("cut"), CommandTimedOut("slow")])
    async def test_nobody_knows_until_the_remote_timeout_has_passed(self, scheduler, transport, error):
        transport.answers["sbatch"] = error
        with pytest.raises(SubmitDoubtful) as caught:
            await scheduler.submit(make_request())
        assert caught.value.settles_after_s > 20

    async def test_a_wrong_word_is_never_sent(self, scheduler, transport):
        with pytest.raises(OptionsError):
            await scheduler.submit(make_request(account="a b"))
        assert transport.calls == []


class TestCancel:
    async def test_an_operator_needs_no_user(self, scheduler, transport):
        await scheduler.start()
        await scheduler.cancel("alice", "17")

        assert [call[:2] for call in transport.ran("scancel")] == [(("scancel", "--user=alice", "17"), None)]

    async def test_the_second_way(self, scheduler, transport):
        await scheduler.start()
        transport.answers["scancel @None"] = ConnectFailed("no")
        await scheduler.cancel("alice", "17")

        assert [user for _, user, _ in transport.ran("scancel")] == [None, "alice"]

    async def test_nobody_special_cancels_as_the_user_first(self, scheduler, transport):
        await scheduler.cancel("alice", "17")
        assert [user for _, user, _ in transport.ran("scancel")] == ["alice"]

        transport.answers["scancel @alice"] = CommandTimedOut("the user's shell sleeps")
        await scheduler.cancel("alice", "17")
        assert [user for _, user, _ in transport.ran("scancel")][1:] == ["alice", None]

    async def test_no_way(self, scheduler, transport):
        transport.answers["scancel @alice"] = CommandTimedOut("the user's shell sleeps")
        transport.answers["scancel @None"] = read_recorded("scancel_foreign")
        with pytest.raises(SchedulerUnavailable) as caught:
            await scheduler.cancel("alice", "17")
        assert "sleeps" in caught.value.detail
        assert "denied" in caught.value.detail

    async def test_a_job_that_is_gone(self, scheduler, transport):
        transport.answers["scancel"] = failed(
            "scancel: error: Kill job error on job id 17: Invalid job id specified"
        )
        await scheduler.cancel("alice", "17")
        assert len(transport.ran("scancel")) == 1


class TestListing:
    async def test_one_command_for_everybody(self, scheduler, transport, clock):
        await scheduler.start()
        before = scheduler.measures.run.total()
        listing = await scheduler.list_jobs()

        assert [(job.id, job.user) for job in listing.jobs] == [("1", "alice"), ("2", "bob")]
        assert (listing.asked_at, listing.waiting_total, listing.sees_all_users) == (clock.now, 1, True)
        await scheduler.list_jobs()
        assert scheduler.measures.run["squeue"] == 2
        assert [user for _, user, _ in transport.ran("squeue")] == [None, None]
        assert scheduler.measures.run.total() - before - 2 <= 5  # the limits, read meanwhile

    async def test_each_listing_has_a_separator_of_its_own(self, scheduler, transport):
        await scheduler.list_jobs()
        await scheduler.list_jobs()
        formats = {call[0][-1] for call in transport.ran("squeue")}
        assert len(formats) == 2

    async def test_a_large_one(self, scheduler, transport):
        transport.answers["env TZ=UTC squeue"] = squeue(*((str(n), "bob", "PENDING") for n in range(1, 3001)))
        assert (await scheduler.list_jobs()).waiting_total == 3000

    async def test_an_outage_concludes_nothing(self, scheduler, transport):
        for answer, error in (
            (OUTAGE, SchedulerUnavailable),
            (ConnectFailed("x"), SchedulerUnavailable),
            (CommandTimedOut("x"), SchedulerUnavailable),
            (ok(""), OutputNotUnderstood),
        ):
            transport.answers["env TZ=UTC squeue"] = answer
            with pytest.raises(error):
                await scheduler.list_jobs()

    async def test_private_data(self, scheduler, transport):
        hide_jobs(transport)
        await scheduler.start()
        assert not (await scheduler.list_jobs()).sees_all_users

    async def test_private_data_seen_by_an_operator(self, scheduler, transport):
        hide_jobs(transport, "Operator")
        await scheduler.start()
        assert (await scheduler.list_jobs()).sees_all_users

    async def test_not_proven_is_not_seen(self, scheduler, transport):
        transport.answers["scontrol show config"] = OUTAGE
        await scheduler.start()
        with pytest.raises(SchedulerUnavailable):
            await scheduler.list_jobs()

        transport.answers["scontrol show config"] = ok(CONFIG)
        assert (await scheduler.list_jobs()).sees_all_users

    async def test_private_data_switched_on_while_the_hub_runs(self, scheduler, transport):
        """The first listing in which a job is missing without having ended must not be believed."""
        assert (await scheduler.list_jobs()).sees_all_users
        hide_jobs(transport)
        transport.answers["env TZ=UTC squeue"] = squeue()
        assert not (await scheduler.list_jobs()).sees_all_users

    async def test_while_it_is_proven_anew_the_last_proof_holds(self, scheduler, transport, clock):
        """A listing that comes in between would tell everybody that jobs are hidden."""
        await scheduler.start()
        seen = []

        def answer(_argv, _user):
            seen.append(scheduler._proof.sees_all_users)
            return ok(CONFIG)

        transport.answers["scontrol show config"] = answer
        clock.advance(301)
        await scheduler._proof.renew_if_old()  # as the form's limits do
        assert seen == [True]
        assert (await scheduler.list_jobs()).sees_all_users

    async def test_a_proof_that_cannot_be_renewed_is_none(self, scheduler, transport, clock):
        await scheduler.start()
        transport.answers["scontrol show config"] = OUTAGE
        clock.advance(301)
        with pytest.raises(SchedulerUnavailable):
            await scheduler._proof.renew_if_old()
        assert not scheduler._proof.sees_all_users

    async def test_an_ended_job_that_is_forgotten_costs_no_command(self, scheduler, transport):
        transport.answers["env TZ=UTC squeue"] = squeue(("1", "alice", "COMPLETED"))
        await scheduler.list_jobs()
        asked = scheduler.measures.run["scontrol"]
        transport.answers["env TZ=UTC squeue"] = squeue()
        await scheduler.list_jobs()
        assert scheduler.measures.run["scontrol"] == asked


class TestEnding:
    async def test_from_accounting_with_the_name_of_who_cancelled(self, scheduler, transport):
        transport.answers["sacct"] = read_recorded("sacct_cancelled")
        transport.answers["id -n -u 57701"] = ok("alice\n")
        await scheduler.start()

        ending = await scheduler.ending("alice", "27")
        assert (ending.state, ending.cancelled_by, ending.max_memory_mib) == ("CANCELLED", "alice", 4)

    async def test_a_uid_without_a_name(self, scheduler, transport):
        transport.answers["sacct"] = read_recorded("sacct_cancelled")
        transport.answers["id"] = failed("id: '57701': no such user")
        assert (await scheduler.ending("alice", "27")).cancelled_by == "57701"

    async def test_from_the_controller_without_accounting(self, scheduler, transport):
        transport.answers["sacct"] = read_recorded("sacct_no_slurmdbd")
        transport.answers["scontrol show job"] = read_recorded("show_job_failed")
        ending = await scheduler.ending("alice", "24")
        assert (ending.exit_status, ending.is_whole) == (3, True)

    async def test_from_the_controller_until_accounting_has_heard_of_it(self, scheduler, transport):
        transport.answers["sacct"] = ok("")
        transport.answers["scontrol show job"] = read_recorded("show_job_failed")
        ending = await scheduler.ending("alice", "24")
        assert (ending.exit_status, ending.is_whole) == (3, False)

    async def test_nobody_knows(self, scheduler, transport):
        transport.answers["sacct"] = ok("")
        transport.answers["scontrol show job"] = OUTAGE
        assert await scheduler.ending("alice", "24") is None

    async def test_the_owner_asks_where_the_service_account_sees_nothing(self, scheduler, transport):
        hide_jobs(transport)
        await scheduler.start()
        transport.answers["sacct @None"] = ok("")
        transport.answers["scontrol show job @None"] = read_recorded("show_job_unknown")
        transport.answers["sacct @alice"] = read_recorded("sacct_failed")
        assert (await scheduler.ending("alice", "24")).state == "FAILED"


class TestMeasures:
    async def test_commands_are_counted_with_their_time_and_their_failures(self, scheduler, transport):
        transport.answers["sacct"] = CommandResult(0, "", "", elapsed_s=0.07)
        transport.answers["scontrol show job"] = failed("slurm_load_jobs error: Invalid job id specified")
        await scheduler.ending("alice", "24")
        transport.answers["sacct"] = CommandTimedOut("slow")
        transport.answers["scontrol show job"] = ConnectFailed("no route")
        await scheduler.ending("alice", "24")

        measures = scheduler.measures
        # Before the proof that the service account sees all jobs, the owner asks too.
        assert measures.run == {"sacct": 4, "scontrol": 4}
        assert measures.failed == {
            ("sacct", "timeout"): 2,
            ("scontrol", "status"): 2,
            ("scontrol", "connect"): 2,
        }
        assert (measures.seconds["sacct"].count, measures.seconds["sacct"].total) == (2, 0.14)


class TestLives:
    """The second opinion on a job that listings lack."""

    async def test_the_controller_shows_it(self, scheduler, transport):
        transport.answers["scontrol show job"] = read_recorded("show_job_running")
        await scheduler.start()
        await scheduler.list_jobs()
        asked = scheduler.measures.run["scontrol"]

        assert await scheduler.lives("alice", "24") is True
        assert scheduler.measures.run["scontrol"] == asked + 1
        # The listing hid it: what it shows is to be proven anew.
        await scheduler.list_jobs()
        assert scheduler.measures.run["scontrol"] > asked + 1

    async def test_it_is_hidden_from_the_service_account(self, scheduler, transport):
        transport.answers["scontrol show job @None"] = read_recorded("show_job_unknown")
        transport.answers["scontrol show job @alice"] = read_recorded("show_job_running")
        assert await scheduler.lives("alice", "24") is True

    @pytest.mark.parametrize("recorded", ["unknown", "failed", "cancelled", "completed"])
    async def test_it_is_gone(self, scheduler, transport, recorded):
        transport.answers["scontrol show job"] = read_recorded(f"show_job_{recorded}")
        assert await scheduler.lives("alice", "24") is False

    async def test_the_id_is_another_users_now(self, scheduler, transport):
        transport.answers["scontrol show job"] = read_recorded("show_job_running")
        assert await scheduler.lives("bob", "24") is False

    async def test_one_answer_is_enough(self, scheduler, transport):
        """With sudo the owner cannot be asked at all."""
        transport.answers["scontrol show job @None"] = read_recorded("show_job_unknown")
        transport.answers["scontrol show job @alice"] = ConnectFailed("no such command")
        assert await scheduler.lives("alice", "24") is False

    async def test_nobody_knows(self, scheduler, transport):
        transport.answers["scontrol show job"] = OUTAGE
        assert await scheduler.lives("alice", "24") is None


class TestAnotherLoginNode:
    """What one of them cannot do another may."""

    async def test_a_listing_that_fails_goes_to_another_next_time(self, scheduler, transport):
        await scheduler.start()
        for answer in (OUTAGE, ok("nonsense"), CommandTimedOut("too long")):
            transport.answers["env TZ=UTC squeue"] = answer
            with pytest.raises((SchedulerUnavailable, OutputNotUnderstood)):
                await scheduler.list_jobs()
        assert transport.avoided == [None] * 3

    async def test_a_submission_that_nobody_heard_is_tried_there_at_once(self, scheduler, transport):
        transport.has_another_host = True
        answers = [failed("sbatch: error: Munge encode failed: Failed to access socket"), ok("77\n")]
        transport.answers["sbatch"] = lambda _argv, _user: answers.pop(0)
        assert await scheduler.submit(make_request()) == "77"
        assert transport.avoided == ["alice"]

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (failed("sbatch: error: invalid partition specified: x"), SubmitRejected),
            (failed("sbatch: error: Socket timed out on send/recv operation"), SubmitDoubtful),
            (ConnectionLost("cut"), SubmitDoubtful),
            (ConnectFailed("a slow start-up file"), SchedulerUnavailable),
        ],
    )
    async def test_nothing_else_is(self, scheduler, transport, answer, error):
        transport.has_another_host = True
        transport.answers["sbatch"] = answer
        with pytest.raises(error):
            await scheduler.submit(make_request())
        assert len(transport.ran("sbatch")) == 1
        assert transport.avoided == []

    async def test_where_there_is_none_the_first_answer_stands(self, scheduler, transport):
        transport.answers["sbatch"] = OUTAGE
        with pytest.raises(SchedulerUnavailable):
            await scheduler.submit(make_request())
        assert len(transport.ran("sbatch")) == 1


async def test_after_a_doubtful_submission_absence_is_proven_anew(scheduler, transport):
    await scheduler.start()
    transport.answers["sbatch"] = ConnectionLost("cut")
    with pytest.raises(SubmitDoubtful):
        await scheduler.submit(make_request())
    hide_jobs(transport)
    assert not (await scheduler.list_jobs()).sees_all_users


class TestLog:
    async def test_read_as_the_user(self, scheduler, transport):
        transport.answers["tail"] = ok("the end\n")
        assert await scheduler.log_tail("alice", "/home/alice/x.log", max_bytes=100) == "the end\n"
        assert transport.calls == [(("tail", "-c", "100", "--", "/home/alice/x.log"), "alice", b"")]

    async def test_no_log(self, scheduler, transport):
        for answer in (failed("tail: cannot open"), ConnectFailed("x"), CommandTimedOut("a pipe")):
            transport.answers["tail"] = answer
            assert await scheduler.log_tail("alice", "/home/alice/x.log") == ""
        assert await scheduler.log_tail("alice", "relative") == ""


class TestEstimate:
    async def test_as_the_user(self, scheduler, transport):
        estimate = await scheduler.estimate(make_request())
        assert estimate.starts_at == 1795391601.0
        (argv, user, _) = transport.ran("sbatch")[0]
        assert "--test-only" in argv
        assert user == "alice"

    async def test_in_the_login_nodes_time_zone(self, scheduler, transport):
        transport.answers["date"] = ok("-0530\n")
        estimate = await scheduler.estimate(make_request())
        assert estimate.starts_at == 1795391601.0 + 5.5 * 3600

    async def test_an_outage(self, scheduler, transport):
        transport.answers["sbatch --parsable --test-only"] = CommandTimedOut("x")
        with pytest.raises(SchedulerUnavailable):
            await scheduler.estimate(make_request())


async def limits_when(scheduler, true):
    """Alice's limits, once they have been read again and this holds."""
    async with asyncio.timeout(30):
        while not true(limits := await scheduler.limits("alice")):
            await asyncio.sleep(0.005)
    return limits


class TestLimits:
    async def test_read_once_and_shared(self, scheduler, transport):
        alice = await scheduler.limits("alice")
        dave = await scheduler.limits("dave")

        assert [p.name for p in alice.partitions] == ["compute", "gpu", "short"]
        assert dave.associations == ()
        await scheduler.limits("alice")
        assert scheduler.measures.run["sinfo"] == 1
        assert len([c for c in transport.ran("sacctmgr") if "alice" in c[0]]) == 1

    async def test_of_this_cluster_only(self, scheduler, transport):
        transport.answers["scontrol show config"] = ok(re.sub(r"(ClusterName +=) \S+", r"\1 other", CONFIG))
        assert (await scheduler.limits("alice")).associations == ()

    async def test_two_who_ask_at_once_wait_for_one_answer(self, scheduler, transport):
        both = await asyncio.gather(scheduler.limits("alice"), scheduler.limits("alice"))
        assert both[0] is both[1]
        assert scheduler.measures.run["sinfo"] == 1

    async def test_one_who_gives_up_does_not_spoil_the_others(self, scheduler, transport):
        impatient = asyncio.get_running_loop().create_task(scheduler.limits("alice"))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await scheduler.limits("alice")).associations

    async def test_old_ones_are_given_out_while_read_again(self, scheduler, transport, clock):
        first = await scheduler.limits("alice")
        clock.advance(301)
        transport.answers[f"{SACCTMGR} user alice"] = ok("")
        assert await scheduler.limits("alice") is first
        assert await limits_when(scheduler, lambda limits: limits.associations == ())

    async def test_what_cannot_be_read_again_stays_and_says_so(self, scheduler, transport, clock):
        first = await scheduler.limits("alice")
        clock.advance(301)
        transport.answers["sinfo"] = OUTAGE
        second = await limits_when(scheduler, lambda limits: limits.problem)
        assert second.associations == first.associations
        assert "out of date" in second.problem

        clock.advance(301)
        transport.answers["sinfo"] = read_recorded("sinfo_nodes")
        assert await limits_when(scheduler, lambda limits: not limits.problem)

    async def test_never_read(self, scheduler, transport):
        transport.answers["sinfo"] = OUTAGE
        with pytest.raises(SchedulerUnavailable):
            await scheduler.limits("alice")

    async def test_no_accounting(self, scheduler, transport):
        none = CONFIG.replace("accounting_storage/slurmdbd", "accounting_storage/none")
        transport.answers["scontrol show config"] = ok(none)
        limits = await scheduler.limits("alice")
        assert not limits.uses_accounts
        assert scheduler.measures.run["sacctmgr"] == 0

    @pytest.mark.parametrize(("patterns", "kept"), [((), True), (("*",), True), (("d?f-*", "rrg-x"), False)])
    async def test_the_site_chooses_accounts_by_patterns(self, transport, clock, patterns, kept):
        scheduler = SlurmScheduler(parse_settings({"slurm": {"accounts": patterns}}), transport, clock)
        limits = await scheduler.limits("alice")
        names = {a.account for a in limits.associations}
        await scheduler.close()

        assert names
        assert any(not name.startswith("def-") for name in names) is kept

    async def test_hidden_accounts_are_read_by_the_user(self, scheduler, transport):
        hide_jobs(transport)
        transport.answers["scontrol show config"] = ok(CONFIG.replace("= none", "= users,accounts"))
        await scheduler.limits("alice")
        assert {user for argv, user, _ in transport.ran("sacctmgr") if "alice" in argv} == {"alice"}


def test_endpoint(scheduler):
    job = Job("1", "alice", "tag", "RUNNING", JobPhase.RUNNING, node="node1", comment="tag 1 evil")

    assert scheduler.endpoint(job, 40123) == Endpoint(host="node1", port=40123)
    assert scheduler.endpoint(job, None) is None
    waiting = Job("1", "alice", "tag", "PENDING", JobPhase.WAITING, node="node1")
    assert scheduler.endpoint(waiting, 40123) is None
    assert scheduler.socket_path("alice", "tag") is None


async def test_warm(scheduler, transport):
    await scheduler.warm("alice")
    assert transport.warmed == ["alice"]


def test_extra_args_are_checked_before_the_hub_starts(transport, clock):
    with pytest.raises(ConfigError, match="-N2"):
        SlurmScheduler(parse_settings({"slurm": {"extra_args": ["-N2"]}}), transport, clock)
