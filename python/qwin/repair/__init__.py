# SPDX-License-Identifier: Apache-2.0
"""Repair by distillation: `python -m qwin.repair BASE QUANTIZED OUT`. Needs torch; see docs/quantization.md."""
