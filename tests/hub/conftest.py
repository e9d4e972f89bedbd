# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from hub_harness import content, qwin, server  # noqa: E402, F401
