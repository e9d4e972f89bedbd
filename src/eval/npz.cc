// SPDX-License-Identifier: Apache-2.0
#include "eval/npz.h"

#include <zip.h>

#include <charconv>
#include <cstring>
#include <memory>

#include "qwin/error.h"

namespace qwin {

namespace {

constexpr uint64_t kMaxArrayBytes = uint64_t{1} << 30;

std::string read_entry(zip_t* archive, zip_uint64_t index, const std::string& name) {
  zip_stat_t stat;
  if (zip_stat_index(archive, index, 0, &stat) != 0 || stat.size > kMaxArrayBytes) {
    throw Error(ErrorCode::io, name + ": no size, or more than 1 GiB");
  }
  std::string data(stat.size, '\0');
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(zip_fopen_index(archive, index, 0), zip_fclose);
  if (!file || zip_fread(file.get(), data.data(), data.size()) != static_cast<zip_int64_t>(data.size())) {
    throw Error(ErrorCode::io, name + ": cannot be unpacked");
  }
  return data;
}

// The value of 'key': in the header, a Python dict on one line.
std::string_view header_value(std::string_view header, std::string_view key, const std::string& name) {
  const size_t at = header.find("'" + std::string(key) + "':");
  if (at == std::string_view::npos)
    throw Error(ErrorCode::bad_magic, name + ": no '" + std::string(key) + "' in the array header");
  std::string_view rest = header.substr(at + key.size() + 3);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return rest;
}

std::vector<size_t> parse_shape(std::string_view text) {
  std::vector<size_t> shape;
  for (size_t i = 1; i < text.size() && text[i] != ')';) {
    size_t dim = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), dim);
    if (error == std::errc()) shape.push_back(dim);
    i = error == std::errc() ? static_cast<size_t>(end - text.data()) : i + 1;
  }
  return shape;
}

// An element has a byte at least, so size() cannot wrap after this.
void check_shape(const NpyArray& array, const std::string& name) {
  size_t left = array.bytes.size();
  for (const size_t dim : array.shape) {
    if (dim == 0) return;
    left /= dim;
  }
  if (left == 0) throw Error(ErrorCode::out_of_file, name + ": the array is shorter than its shape");
}

NpyArray parse_npy(const std::string& data, const std::string& name) {
  if (data.size() < 12 || std::memcmp(data.data(), "\x93NUMPY", 6) != 0)
    throw Error(ErrorCode::bad_magic, name + " is no .npy array");
  const bool wide = data[6] >= 2;  // version 2 has a 4-byte header length
  uint32_t length = 0;
  std::memcpy(&length, data.data() + 8, wide ? 4 : 2);
  const size_t begin = (wide ? 12 : 10), end = begin + length;
  if (end > data.size()) throw Error(ErrorCode::out_of_file, name + ": the array header runs past the end");
  const std::string_view header(data.data() + begin, length);

  NpyArray array;
  const std::string_view descr = header_value(header, "descr", name);
  if (!descr.starts_with('\'')) throw Error(ErrorCode::bad_magic, name + ": the array header names no type");
  array.dtype = descr.substr(1, descr.find('\'', 1) - 1);
  array.shape = parse_shape(header_value(header, "shape", name));
  if (header_value(header, "fortran_order", name).starts_with("True"))
    throw Error(ErrorCode::bad_shape, name + ": Fortran order");
  const auto* elements = reinterpret_cast<const std::byte*>(data.data());
  array.bytes.assign(elements + end, elements + data.size());
  check_shape(array, name);
  return array;
}

template <typename T>
std::vector<double> widen(const NpyArray& array) {
  if (array.bytes.size() / sizeof(T) < array.size())
    throw Error(ErrorCode::out_of_file, "an array is shorter than its shape");
  std::vector<double> numbers(array.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    T value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    numbers[i] = static_cast<double>(value);
  }
  return numbers;
}

}  // namespace

size_t NpyArray::size() const {
  size_t n = 1;
  for (const size_t dim : shape) n *= dim;
  return n;
}

std::vector<double> NpyArray::numbers() const {
  if (dtype == "<f4") return widen<float>(*this);
  if (dtype == "<f8") return widen<double>(*this);
  if (dtype == "<i4") return widen<int32_t>(*this);
  if (dtype == "<i8") return widen<int64_t>(*this);
  throw Error(ErrorCode::bad_type, "arrays of type " + dtype + " are not read here");
}

std::map<std::string, NpyArray> read_npz(const std::string& path) {
  int error = 0;
  const std::unique_ptr<zip_t, decltype(&zip_discard)> archive(zip_open(path.c_str(), ZIP_RDONLY, &error), zip_discard);
  if (!archive)
    throw Error(error == ZIP_ER_NOZIP ? ErrorCode::bad_magic : ErrorCode::io,
                path + " cannot be read as a .npz archive");
  std::map<std::string, NpyArray> arrays;
  for (zip_int64_t i = 0; i < zip_get_num_entries(archive.get(), 0); ++i) {
    std::string name = zip_get_name(archive.get(), static_cast<zip_uint64_t>(i), 0);
    const std::string data = read_entry(archive.get(), static_cast<zip_uint64_t>(i), name);
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    arrays.emplace(name, parse_npy(data, name));
  }
  return arrays;
}

}  // namespace qwin
