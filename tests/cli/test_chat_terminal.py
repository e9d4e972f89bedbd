# SPDX-License-Identifier: Apache-2.0
"""The chat of `qwin run` on a pseudo terminal: editing, paste, history, Ctrl-C, commands, the context's end."""

import json
import os
import signal
import stat
import termios

import pytest
from terminal_driver import PROMPT

SHORT = ("--max-tokens", "4", "--temperature", "0")
# With a window an answer never ends by itself.
ENDLESS = ("--window", "64", "--sinks", "16", "--ignore-eos", "--temperature", "0")


def receive_answer(terminal, length=300):
    """Waits for so many more characters of an answer."""
    wanted = len(terminal.shown) + length
    while len(terminal.shown) < wanted:
        assert terminal.receive()


def saved(terminal, tmp_path):
    """The messages of the chat, by /save."""
    path = tmp_path / "saved.json"
    terminal.ask(f"/save {path}")
    return json.loads(path.read_text())


def user_texts(terminal, tmp_path):
    return [message["content"] for message in saved(terminal, tmp_path) if message["role"] == "user"]


# Typing.


def test_answer_timings_and_leaving(chat, tmp_path):
    terminal = chat(*SHORT)
    before = termios.tcgetattr(terminal.master)
    shown = terminal.ask("hello")
    assert "4 tokens, first after" in shown and "answer" in shown
    roles = [message["role"] for message in saved(terminal, tmp_path)]
    assert roles == ["user", "assistant"]
    terminal.ask("/stats")
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.exit_code() == 0
    assert terminal.seen.rstrip().endswith("\x1b[?2004l"), "bracketed paste is left as it was found"
    assert termios.tcgetattr(terminal.master) == before


def test_editing_in_utf8(chat, tmp_path):
    terminal = chat(*SHORT)
    # Left over two wide characters, delete the umlaut before them, append at the end.
    terminal.ask("grüße ä中文\x1b[D\x1b[D\x7fö\x05!")
    assert user_texts(terminal, tmp_path) == ["grüße ö中文!"]


def test_pasted_lines_are_one_message(chat, tmp_path):
    terminal = chat(*SHORT)
    terminal.wait_for(PROMPT)
    terminal.type("explain: ")
    terminal.paste("def f():\n\treturn 1\n\nprint(f())\n")
    terminal.enter("thanks")
    assert user_texts(terminal, tmp_path) == ["explain: def f():\n\treturn 1\n\nprint(f())\nthanks"]


def test_long_paste_loses_nothing(chat, tmp_path):
    text = "\n".join(f"line {i} äöü" for i in range(3000))
    terminal = chat(*SHORT, "--window", "32")
    terminal.wait_for(PROMPT)
    for begin in range(0, len(text), 1000):
        terminal.type(("" if begin else "\x1b[200~") + text[begin : begin + 1000])
        terminal.receive()
    terminal.type("\x1b[201~")
    terminal.enter("")
    assert user_texts(terminal, tmp_path) == [text]


@pytest.mark.parametrize(
    "lines, message",
    [
        (['"""', "one", "", "two", '"""'], "one\n\ntwo"),
        (['"""one', 'two"""'], "one\ntwo"),
        (['"""one"""'], "one"),
        (["one\\", "two\\", "three"], "one\ntwo\nthree"),
        (["one\x1b\rtwo"], "one\ntwo"),
        ([" /etc/hosts"], " /etc/hosts"),
    ],
)
def test_several_lines(chat, tmp_path, lines, message):
    terminal = chat(*SHORT)
    terminal.wait_for(PROMPT)
    for line in lines[:-1]:
        terminal.type(line + "\r")
        terminal.wait_for("... ")
    terminal.enter(lines[-1])
    assert user_texts(terminal, tmp_path) == [message]


def test_empty_lines_ask_nothing(chat, tmp_path):
    terminal = chat(*SHORT)
    terminal.ask("")
    terminal.ask("   ")
    assert saved(terminal, tmp_path) == []


# History.


def test_history_outlives_the_program(chat, tmp_path):
    first = chat(*SHORT)
    first.ask("erste Frage ä")
    first.wait_for(PROMPT)
    first.paste("two\nlines \\n")
    first.enter("")
    first.wait_for(PROMPT)
    first.type("/quit\r")
    assert first.exit_code() == 0
    path = tmp_path / "qwin/history"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    second = chat(*SHORT)
    for ups in (2, 4):  # behind /quit; then behind it, the recalled message and the pasted one
        second.wait_for(PROMPT)
        second.type("\x1b[A" * ups + "\r")
        second.wait_for("first after")  # recalling draws prompts, too
    assert user_texts(second, tmp_path) == ["two\nlines \\n", "erste Frage ä"]


def test_a_history_that_cannot_be_kept_is_no_fault(chat, tmp_path):
    (tmp_path / "qwin").write_text("a file where the folder should be")
    terminal = chat(*SHORT)
    assert "4 tokens" in terminal.ask("hello")


# Ctrl-C and signals.


def test_ctrl_c_stops_the_answer_only(chat, tmp_path):
    terminal = chat(*ENDLESS)
    terminal.wait_for(PROMPT)
    terminal.type("go on\r")
    receive_answer(terminal)
    terminal.interrupt()
    terminal.wait_for("\nStopped.\n")
    messages = saved(terminal, tmp_path)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert len(messages[1]["content"]) > 50
    terminal.ask("/set max_tokens 3")
    assert "3 tokens" in terminal.ask("again")


def test_ctrl_c_clears_the_line(chat, tmp_path):
    terminal = chat(*SHORT)
    terminal.wait_for(PROMPT)
    terminal.type("not this")
    terminal.wait_for("not this")
    terminal.interrupt()
    terminal.ask("but this")
    terminal.wait_for(PROMPT)
    terminal.type('"""\r')
    terminal.wait_for("... ")
    terminal.interrupt()
    terminal.wait_for(PROMPT)
    terminal.interrupt()
    terminal.wait_for("Ctrl-D or /quit leaves.")
    assert user_texts(terminal, tmp_path) == ["but this"]


def test_a_line_typed_during_an_answer_is_the_next_message(chat, tmp_path):
    terminal = chat(*ENDLESS, "--max-tokens", "30000")
    terminal.wait_for(PROMPT)
    terminal.type("go\r")
    receive_answer(terminal)
    terminal.type("/set max_tokens 3\rnext\r")
    terminal.wait_for("\n3 tokens, first after")
    assert user_texts(terminal, tmp_path) == ["go", "next"]


def test_keys_typed_during_an_answer_wait_unseen(chat, tmp_path):
    terminal = chat(*ENDLESS)
    terminal.wait_for(PROMPT)
    terminal.type("go\r")
    receive_answer(terminal)
    terminal.type("ZZZ")
    receive_answer(terminal)
    assert "ZZZ" not in terminal.shown
    terminal.type("\x04")
    receive_answer(terminal)
    terminal.interrupt()  # which throws away what was typed
    terminal.wait_for(PROMPT)
    terminal.type("\x04")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize("during_answer", [False, True])
def test_sigterm_leaves_the_terminal_as_it_was(chat, during_answer):
    terminal = chat(*ENDLESS)
    terminal.wait_for(PROMPT)
    if during_answer:
        terminal.type("go\r")
        receive_answer(terminal)
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.exit_code() == -signal.SIGTERM
    assert "\x1b[?2004l" in terminal.seen


def test_a_closed_terminal_ends_the_chat(chat):
    terminal = chat(*SHORT)
    terminal.wait_for(PROMPT)
    os.close(terminal.master)
    terminal.process.wait(60)
    terminal.master = os.open(os.devnull, os.O_RDONLY)


# Commands.


def test_undo_retry_new(chat, tmp_path):
    terminal = chat("--max-tokens", "8", "--temperature", "5", "--top-p", "1", "--top-k", "0")
    terminal.ask("one")
    first = saved(terminal, tmp_path)
    terminal.ask("two")
    assert "1 turn left" in terminal.ask("/undo")
    assert saved(terminal, tmp_path) == first
    terminal.ask("/retry")
    again = saved(terminal, tmp_path)
    assert again[0] == first[0] and again[1]["content"] != first[1]["content"], "another seed, another answer"
    terminal.ask("/new")
    assert saved(terminal, tmp_path) == []
    assert "nothing to take back" in terminal.ask("/undo")
    assert "nothing to answer" in terminal.ask("/retry")


def test_save_and_load(chat, tmp_path):
    first = chat(*SHORT, "--system", "be brief")
    first.ask("hello ä")
    messages = saved(first, tmp_path)
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert messages[0]["content"] == "be brief"
    path = tmp_path / "saved.json"
    second = chat(*SHORT)
    assert "3 messages loaded" in second.ask(f"/load {path}")
    second.ask("/system other words")
    second.ask("next")
    path.unlink()
    longer = saved(second, tmp_path)
    assert longer[0]["content"] == "other words"
    assert longer[1:3] == messages[1:]
    assert len(longer) == 5


def test_save_overwrites_only_chats(chat, tmp_path):
    program = tmp_path / "main.py"
    program.write_text("print()")
    terminal = chat(*SHORT)
    assert "holds no chat" in terminal.ask(f"/save {program}")
    assert program.read_text() == "print()"
    assert "cannot read" in terminal.ask(f"/load {tmp_path / 'absent'}")
    program.write_text('[{"role": "tool", "content": "x"}]')
    assert "neither of user nor of assistant" in terminal.ask(f"/load {program}")


def test_settings(chat, tmp_path):
    terminal = chat(*SHORT)
    assert "temperature         0\n" in terminal.ask("/set")
    assert "temperature         0.5\n" in terminal.ask("/set temperature 0.5")
    assert "top_p               0.25\n" in terminal.ask("/set top-p 0.25")
    assert "seed                7" in terminal.ask("/set seed 7")
    assert "temperature         0\n" in terminal.ask("/set temperature default")
    assert "top_p" in terminal.ask("/set top_p 7")
    assert "cannot be 'warm'" in terminal.ask("/set temperature warm")
    assert "no setting 'heat'" in terminal.ask("/set heat 1")
    assert "no command '/frobnicate'" in terminal.ask("/frobnicate")
    assert "/retry" in terminal.ask("/help")
    assert saved(terminal, tmp_path) == [], "commands are no messages"


# The context's end.


def test_oldest_turns_make_room(chat, tmp_path):
    terminal = chat("--ctx", "128", "--max-tokens", "8", "--temperature", "0", "--system", "s")
    assert "128 tokens" in terminal.ask("/help")
    shown = [terminal.ask(f"question {i}") for i in range(8)]
    dropped = [i for i, text in enumerate(shown) if "left out to make room" in text]
    assert dropped and dropped[0] > 0
    texts = user_texts(terminal, tmp_path)
    assert texts == [f"question {i}" for i in range(8 - len(texts), 8)]
    assert len(texts) < 8
    assert saved(terminal, tmp_path)[0] == {"role": "system", "content": "s"}


def test_answer_cut_by_the_context_says_so(chat):
    terminal = chat("--ctx", "64", "--ignore-eos", "--temperature", "0")
    assert "Cut off: the context of 64 tokens is full." in terminal.ask("hello")
    assert "Cut off: the context of 64 tokens is full." in terminal.ask("hello again")


def test_message_beyond_the_context_is_taken_back(chat, tmp_path):
    terminal = chat("--ctx", "64", "--max-tokens", "4")
    assert "the context ends at 64" in terminal.ask("much too long " * 30)
    terminal.ask("short")
    assert user_texts(terminal, tmp_path) == ["short"]


# What is written where.


def test_raw_continues_plain_text(chat, tmp_path):
    terminal = chat(*SHORT, "--raw")
    assert "prompt 3 at" in terminal.ask("a b")
    assert "no system message" in terminal.ask("/system x")
    assert [message["content"] for message in saved(terminal, tmp_path)][0] == "a b"


def test_stdout_holds_the_answers_only(chat, tmp_path):
    with open(tmp_path / "stdout", "wb") as stdout:
        terminal = chat(*SHORT, stdout=stdout)
    terminal.ask("hello")
    answer = saved(terminal, tmp_path)[1]["content"]
    assert (tmp_path / "stdout").read_text() == answer + "\n"


def test_no_color(chat):
    coloured, plain = chat(*SHORT), chat(*SHORT, NO_COLOR="1")
    for terminal in (coloured, plain):
        terminal.ask("hello")
    assert "\x1b[2m" in coloured.seen
    assert "\x1b[1;36m>>>\x1b[0m " in coloured.seen
    assert "\x1b[2m" not in plain.seen and "\x1b[1;36m" not in plain.seen


def test_dumb_terminal(chat, tmp_path):
    terminal = chat(*SHORT, TERM="dumb")
    assert terminal.ask("hello", enter="\n").startswith("hello")
    assert "\x1b" not in terminal.seen[terminal.seen.find("/help") :]
