// No exception may unwind into Rust: it becomes a status and a text.
#pragma once
#include <exception>
#include <string>

extern thread_local std::string vlhub_last_error;

template <typename F> int guarded(F &&body) {
  try {
    body();
    return 0;
  } catch (const std::exception &error) {
    vlhub_last_error = error.what();
  } catch (...) {
    vlhub_last_error = "unknown C++ exception";
  }
  return 1;
}
