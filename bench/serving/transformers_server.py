# SPDX-License-Identifier: Apache-2.0
"""transformers behind FastAPI, the way it is commonly done: one generate() at a time.

usage: transformers_server.py MODEL.gguf PORT THREADS float32|bfloat16      (the weights are the file's, dequantized)
"""

import asyncio
import json
import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

path, port, threads, dtype = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), getattr(torch, sys.argv[4])
torch.set_num_threads(threads)
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype).eval()
app = FastAPI()
turn = asyncio.Lock()


@app.get("/health")
def health():
    return {"status": "ok"}


def generate(ids, new_tokens, streamer):
    with torch.inference_mode():
        model.generate(ids, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, streamer=streamer)


@app.post("/v1/chat/completions")
async def chat(body: dict):
    ids = tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]

    async def events():
        async with turn:
            streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
            work = asyncio.get_running_loop().run_in_executor(None, generate, ids, body["max_tokens"], streamer)
            pieces = iter(streamer)
            while (text := await asyncio.to_thread(next, pieces, None)) is not None:
                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n"
            await work
        usage = {"prompt_tokens": ids.shape[1], "completion_tokens": body["max_tokens"]}
        yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
