# SPDX-License-Identifier: Apache-2.0
"""A chat service in twenty lines: `QWIN_MODEL=qwen2.5-coder-0.5b uvicorn examples.fastapi_chat:app`."""

import json
import os

import qwin
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()
engine = qwin.Engine.load_pretrained(os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b"))


@app.post("/chat")
async def chat(prompt: str) -> StreamingResponse:
    async def events():
        async for chunk in engine.stream_generate(prompt, max_length=512):
            yield f"data: {json.dumps(chunk)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
