// One translation unit: compiling this shim is reading libtorch's headers, and this way they are read once and not once for each.

#include "ext.cpp"
#include "grouped.cpp"
#include "memory.cpp"
#include "mixed.cpp"
#include "paper.cpp"
#include "products.cpp"
#include "profile.cpp"
#include "recompute.cpp"
#include "stream.cpp"
#include "watch.cpp"
