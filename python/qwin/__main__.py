# SPDX-License-Identifier: Apache-2.0
"""`python -m qwin …` is the command `qwin …`, for when its folder is not on PATH."""

import os
import sys

from qwin.command import binary_path

binary = str(binary_path())
os.execv(binary, [binary, *sys.argv[1:]])
