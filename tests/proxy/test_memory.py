"""A connection inside the process behaves as one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minihub.proxy.memory import WATER_MARK, connect
from tests.proxy.kit import until

MB = 1024 * 1024


class End(asyncio.Protocol):
    """Notes what it is told, in order."""

    def __init__(self):
        self.told = []
        self.data = b""
        self.may_write = True
        self.lost = []
        self.is_called = False
        self.answer = None

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("made")

    def data_received(self, data):
        assert not self.is_called, "called while it was calling"
        assert not self.lost
        assert self.transport.is_reading() or self.transport.is_closing()
        self.data += data
        self.told.append(data)
        if self.answer is not None:
            self.is_called = True
            self.answer(data)
            self.is_called = False

    def pause_writing(self):
        assert self.may_write
        self.may_write = False
        self.told.append("pause")

    def resume_writing(self):
        assert not self.may_write
        self.may_write = True
        self.told.append("resume")

    def connection_lost(self, exc):
        self.lost.append(exc)
        self.told.append("lost")

    def write(self, data):
        assert not self.is_called
        self.is_called = True
        self.transport.write(data)
        self.is_called = False


def make_pair(**sees):
    near, far = End(), End()
    connect(asyncio.get_running_loop(), near, far, other_sees=sees)
    return near, far


async def turn(times=10):
    for _ in range(times):
        await asyncio.sleep(0)


async def test_both_ends_are_told_and_the_far_one_sees_the_browser():
    near, far = make_pair(peername=("192.0.2.1", 7), sslcontext="tls")
    assert near.told == far.told == ["made"]
    assert far.transport.get_extra_info("peername") == ("192.0.2.1", 7)
    assert far.transport.get_extra_info("sslcontext") == "tls"
    assert near.transport.get_extra_info("peername") is None
    assert far.transport.get_extra_info("socket") is None


async def test_what_is_written_arrives_later_and_in_order():
    near, far = make_pair()
    for piece in (b"one", b"two", b"", b"three"):
        near.write(piece)
        far.write(piece.upper())
    assert near.data == far.data == b""
    await turn()
    assert far.data == b"onetwothree"
    assert near.data == b"ONETWOTHREE"
    assert near.transport.get_write_buffer_size() == 0


async def test_an_answer_is_not_delivered_while_the_question_is_being_read():
    near, far = make_pair()
    far.answer = lambda data: far.transport.write(data + b"!")
    near.answer = lambda data: near.transport.write(data) if len(data) < 50 else None
    near.write(b"?")
    await turn(500)
    assert near.data.endswith(b"?" + 49 * b"!")


async def test_what_was_written_is_what_arrives_even_if_the_buffer_is_used_again():
    near, far = make_pair()
    buffer = bytearray(b"one")
    near.transport.write(buffer)
    near.transport.write(memoryview(buffer)[:2])
    buffer[:] = b"two"
    await turn()
    assert far.data == b"oneon"


async def test_above_the_water_mark_the_writer_waits():
    near, far = make_pair()
    assert near.transport.get_write_buffer_limits() == (0, WATER_MARK)
    near.transport.set_write_buffer_limits(high=10)
    near.write(b"x" * 10)
    assert near.may_write
    near.write(b"y")
    near.write(b"z")
    assert near.told == ["made", "pause"]
    assert near.transport.get_write_buffer_size() == 12
    await turn()
    assert near.told == ["made", "pause", "resume"]
    assert len(far.data) == 12


async def test_a_reader_that_pauses_gets_nothing_until_it_resumes():
    near, far = make_pair()
    far.transport.pause_reading()
    assert not far.transport.is_reading()
    near.write(b"one")
    near.write(b"x" * WATER_MARK)
    await turn()
    assert far.data == b""
    assert not near.may_write
    far.write(b"the other way is open")
    await turn()
    assert near.data == b"the other way is open"
    far.transport.resume_reading()
    assert far.data == b"", "not from within"
    await turn()
    assert len(far.data) == WATER_MARK + 3
    assert near.may_write


async def test_a_reader_may_pause_while_it_is_called():
    near, far = make_pair()
    far.answer = lambda _: far.transport.pause_reading()
    near.write(b"one")
    await turn()
    near.write(b"two")
    await turn()
    assert far.data == b"one"
    far.transport.resume_reading()
    await turn()
    assert far.data == b"onetwo"


async def test_close_lets_arrive_what_was_written():
    near, far = make_pair()
    near.write(b"last")
    near.transport.close()
    near.transport.close()
    assert near.transport.is_closing()
    assert not near.transport.is_reading()
    near.write(b"too late")
    assert near.told == far.told == ["made"]
    await turn()
    assert far.told == ["made", b"last", "lost"]
    assert near.told == ["made", "lost"]
    assert near.lost == far.lost == [None]
    assert far.transport.is_closing()


async def test_close_waits_for_a_reader_that_pauses():
    near, far = make_pair()
    far.transport.pause_reading()
    near.write(b"last")
    near.transport.close()
    await turn()
    assert near.lost == far.lost == []
    far.transport.resume_reading()
    await turn()
    assert far.data == b"last"
    assert near.lost == far.lost == [None]


async def test_close_of_a_silent_connection_reaches_a_reader_that_pauses():
    near, far = make_pair()
    far.transport.pause_reading()
    near.transport.close()
    await turn()
    assert near.lost == far.lost == [None]


async def test_abort_loses_what_is_under_way():
    near, far = make_pair()
    near.write(b"never")
    far.write(b"never")
    near.transport.abort()
    near.write(b"never")
    assert near.lost == far.lost == [], "not from within"
    assert near.transport.get_write_buffer_size() == 0
    await turn()
    assert near.data == far.data == b""
    assert near.lost == [None]
    assert [type(error) for error in far.lost] == [ConnectionResetError]


@pytest.mark.parametrize("who", ["reader", "writer"])
async def test_abort_from_within_a_delivery(who):
    near, far = make_pair()
    near.transport.set_write_buffer_limits(high=1)
    far.answer = lambda _: (far if who == "reader" else near).transport.abort()
    near.write(b"one")
    await turn()
    near.write(b"two")
    await turn()
    assert far.data == b"one"
    assert len(near.lost) == len(far.lost) == 1


@pytest.mark.parametrize("first", ["abort", "close"])
@pytest.mark.parametrize("then", ["abort", "close"])
@pytest.mark.parametrize("same", [True, False])
async def test_both_ends_are_told_once(first, then, same):
    near, far = make_pair()
    near.write(b"x")
    far.write(b"y")
    getattr(near.transport, first)()
    getattr((near if same else far).transport, then)()
    await turn()
    near.transport.abort()
    far.transport.close()
    await turn()
    assert len(near.lost) == len(far.lost) == 1
    assert near.told[-1] == far.told[-1] == "lost"


async def test_there_is_no_half_close():
    near, far = make_pair()
    assert not near.transport.can_write_eof()
    assert not far.transport.can_write_eof()


async def test_whoever_is_set_receives_from_then_on():
    near, far = make_pair()
    heir = End()
    near.write(b"one")
    await turn()
    far.transport.set_protocol(heir)
    heir.connection_made(far.transport)
    assert far.transport.get_protocol() is heir
    near.write(b"two")
    near.transport.close()
    await turn()
    assert (far.data, heir.data) == (b"one", b"two")
    assert (far.lost, heir.lost) == ([], [None])


async def test_much_data_to_a_writer_that_waits_when_it_is_told():
    near, far = make_pair()
    sent, most = bytearray(), 0
    total = 8 * MB
    while len(sent) < total:
        piece = bytes([len(sent) // 1000 % 251]) * 9973
        near.write(piece)
        sent += piece
        most = max(most, near.transport.get_write_buffer_size())
        await until(lambda: near.may_write)
    near.transport.close()
    await until(lambda: far.lost)
    assert far.data == sent
    assert most <= WATER_MARK + 9973


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write"] * 4 + ["pause", "resume", "turn", "turn", "close", "abort"]),
        st.integers(0, 1),
        st.integers(0, 40),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
async def test_what_arrives_is_what_was_sent_up_to_somewhere(steps):
    ends = make_pair()
    for end in ends:
        end.transport.set_write_buffer_limits(high=50)
    sent, closed, aborted = [b"", b""], [], False
    paused = [False, False]
    for number, (step, who, size) in enumerate(steps):
        end, other = ends[who], ends[1 - who]
        match step:
            case "write":
                data = bytes([number]) * size
                if not end.transport.is_closing():
                    sent[who] += data
                end.write(data)
            case "pause" | "resume":
                paused[who] = step == "pause"
                getattr(end.transport, f"{step}_reading")()
            case "turn":
                held = [end.data for end in ends]
                await turn(1 + size % 3)
                for n in (0, 1):
                    assert not paused[n] or ends[n].data == held[n]
            case "close":
                if not end.transport.is_closing():
                    closed.append(who)
                end.transport.close()
            case "abort":
                aborted = True
                end.transport.abort()
        assert sent[1 - who].startswith(end.data)
        assert sent[who].startswith(other.data)
    for end in ends:
        end.transport.resume_reading()
    await turn(20)
    for n, end in enumerate(ends):
        assert sent[1 - n].startswith(end.data)
        assert len(end.lost) == bool(closed or aborted)
        assert end.transport.get_write_buffer_size() == 0
        if not aborted and (not closed or closed == [1 - n]):
            assert end.data == sent[1 - n], "closed in order, or not at all"
        assert end.may_write or end.lost
