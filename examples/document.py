# SPDX-License-Identifier: Apache-2.0
"""A document longer than one likes to read at once: parts of 256 tokens that overlap, asked in one batch, then put together.

`QWIN_DOCUMENT` is a text file; without it a lease is made up.
"""

# %%
import os
from pathlib import Path

import qwin

engine = qwin.Engine.load_pretrained(os.environ.get("QWIN_MODEL", "qwen2.5-coder-0.5b"))
CLAUSES = {
    "Rent": "The tenant pays 4,200 yuan a month, due on the fifth day; after ten days of delay 0.05 % a day is added.",
    "Deposit": "The deposit of two months' rent is given back within fourteen days after the keys were returned.",
    "Term": "The lease runs from 1 March 2025 to 28 February 2027 and goes on by a year unless ended two months before.",
    "Repairs": "The landlord repairs roof, pipes and heating; the tenant what costs less than 200 yuan.",
    "Use": "The rooms are used as an office for at most twelve people; subletting needs a written consent.",
    "Ending": "Either side may end the lease early with three months' notice and one month's rent as compensation.",
}
LEASE = "\n\n".join(f"§ {i}.{n} {name}. {text}" for i in range(1, 4) for n, (name, text) in enumerate(CLAUSES.items(), 1))
text = Path(os.environ["QWIN_DOCUMENT"]).read_text(encoding="utf-8") if "QWIN_DOCUMENT" in os.environ else LEASE

# %%
result = qwin.process_document(
    engine,
    text,
    segment_tokens=256,
    overlap=64,
    instruction="List the duties of the tenant in this text.",
    reduce_instruction="Merge these lists of a tenant's duties into one, without repetitions.",
    max_length=128,
    progress=lambda done, total: print(f"{done} of {total} segments"),
    with_details=True,
)
print(result.text)

# %% [markdown]
# `result.segments` and `result.partial_answers` show what each part said. Your own function over the parts:

# %%
with qwin.ParallelEngine(engine, num_workers=4) as parallel:
    sums = parallel.map(lambda part: engine.generate(f"Which sums of money are named here?\n\n{part}", max_length=48), result.segments)
print(sums[0])
