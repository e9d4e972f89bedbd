// SPDX-License-Identifier: Apache-2.0
// What /metrics tells: counts of the engine, read when asked for, and histograms of what requests took.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "qwin/engine.h"

namespace qwin::server {

// Thread-safe.
class Metrics {
 public:
  Metrics();

  void observe(const GenerationResult& result);
  // The exposition text of Prometheus.
  std::string text(const EngineStats& stats) const;

  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  prometheus::Registry registry_;

 public:
  prometheus::Counter* streams_stalled;

 private:
  prometheus::Histogram* time_to_first_token_;
  prometheus::Histogram* time_per_output_token_;
};

}  // namespace qwin::server
