// SPDX-License-Identifier: Apache-2.0
// The compiled part of Asio (BOOST_ASIO_SEPARATE_COMPILATION).
#include <boost/asio/impl/src.hpp>
