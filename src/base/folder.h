// Folders of the file system.
#ifndef TN_BASE_FOLDER_H
#define TN_BASE_FOLDER_H

#include "base/status.h"

// Makes the folder and those above it, for this user alone; `what` it is for stands in the message ("packed weights").  Errors: IO,
// OUT_OF_MEMORY.
tn_status tn_folder_make(const char *folder, const char *what);

#endif
