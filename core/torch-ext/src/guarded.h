// No exception may unwind into Rust: it becomes a status and a text.
#pragma once
#include <c10/util/Exception.h>
#include <exception>
#include <string>

extern thread_local std::string vlhub_last_error;

template <typename F> int guarded(F &&body) {
  try {
    body();
    return 0;
  } catch (const c10::OutOfMemoryError &error) {
    // The class does not reach Rust; these words do (`is_out_of_memory`).
    vlhub_last_error = std::string("out of memory: ") + error.what();
  } catch (const std::exception &error) {
    vlhub_last_error = error.what();
  } catch (...) {
    vlhub_last_error = "unknown C++ exception";
  }
  return 1;
}
