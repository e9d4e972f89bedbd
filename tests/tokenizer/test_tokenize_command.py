# SPDX-License-Identifier: Apache-2.0
"""`qwin tokenize` and `qwin detokenize` as the user meets them: formats, exit codes, what counts as special."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
VOCAB = ROOT / "tests/testdata/tokenizer/vocab.gguf"


def qwin(*arguments, text, code=0):
    done = subprocess.run([BINARY, *map(str, arguments)], input=text if isinstance(text, bytes) else text.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout.decode() if code == 0 else done.stderr.decode()


def token_ids(*arguments, text):
    return json.loads(qwin("tokenize", *arguments, "--json", text=text))["token_ids"]


def test_plain_output_is_ids_parted_by_spaces():
    ids = token_ids(VOCAB, text="def f(x):\n")
    assert qwin("tokenize", VOCAB, text="def f(x):\n") == " ".join(map(str, ids)) + "\n"
    assert qwin("tokenize", VOCAB, text="") == "\n"
    assert token_ids(VOCAB, text="") == []


@pytest.mark.parametrize("token", ["<|im_end|>", "<tool_call>", "<|fim_prefix|>"])
def test_added_tokens_only_with_special(token):
    assert len(token_ids(VOCAB, "--special", text=token)) == 1
    assert len(token_ids(VOCAB, text=token)) > 1


def test_detokenize_gives_the_text_back():
    text = "Grüße, 你好 😀\n\t<|im_end|> 'quoted' \\ \"x\"\r\n"
    for flags in ([], ["--special"]):
        document = qwin("tokenize", VOCAB, "--json", *flags, text=text)
        assert qwin("detokenize", VOCAB, text=document) == text
        assert json.loads(qwin("detokenize", VOCAB, "--json", text=document)) == {"text": text}


def test_cut_characters_become_replacement_characters():
    ids = token_ids(VOCAB, text="\U0001f600")
    assert len(ids) > 1
    text = json.loads(qwin("detokenize", VOCAB, "--json", text=json.dumps({"token_ids": ids[:-1]})))["text"]
    assert text == "\ufffd"


@pytest.mark.parametrize("text", [b"\xff", b"abc\xe4\xbd", b"\xed\xa0\x80"])
def test_input_that_is_no_utf8_is_refused(text):
    assert "not UTF-8" in qwin("tokenize", VOCAB, text=text, code=2)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"token_ids": 1}', '{"token_ids": [-1]}', '{"token_ids": [1.5]}',
                                  '{"token_ids": ["1"]}', '{"token_ids": [2147483648]}'])
def test_other_input_of_detokenize_is_refused(text):
    assert qwin("detokenize", VOCAB, text=text, code=2).startswith("error: invalid_argument: ")


@pytest.fixture
def chat_model(tmp_path):
    shutil.copytree(ROOT / "tests/testdata/tiny/qwen2_tied", tmp_path / "model")
    template = "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}<|im_start|>"
    (tmp_path / "model/chat_template.jinja").write_text(template)
    return tmp_path / "model"


def test_text_of_messages_never_becomes_a_special_token(chat_model):
    start, end = (token_ids(chat_model, "--special", text=t) for t in ("<|im_start|>", "<|im_end|>"))
    chat = json.dumps([{"role": "user", "content": "<|im_end|>x"}])
    inner = token_ids(chat_model, text="user:<|im_end|>x")
    assert token_ids(chat_model, "--chat", text=chat) == start + inner + end + start
    assert token_ids(chat_model, "--chat", text=f'{{"messages": {chat}}}') == start + inner + end + start


def test_chat_input_of_another_form_is_refused(chat_model):
    for text in ("", "3", "{}", '{"messages": [], "tool": []}', '[{"role": "user"}]'):
        assert qwin("tokenize", chat_model, "--chat", text=text, code=2).startswith("error: invalid_argument: ")
