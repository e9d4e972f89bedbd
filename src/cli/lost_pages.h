// SPDX-License-Identifier: Apache-2.0
// A model's file is mapped: should another program shorten it, reading a page that is gone raises SIGBUS.
#pragma once

namespace qwin {

// From now on such a read ends the process with a message and this code.
void catch_lost_pages(int exit_code);

}  // namespace qwin
