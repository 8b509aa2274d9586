"""What lies on disk, one way for everybody: atomic writes, locks and folders that are built once (`disk`); reading JSON (`text`), pictures,
`.mat` files and saliency maps. Imports nothing else of lib.

Whatever is wrong with a file is one line that begins with its path and ends with what to do: ValueError, FileNotFoundError where
there is none. Nothing in a file is executed.
"""

from lib.files.disk import (ROOT, Allocate, apart, arrays, built, checksum, for_file, for_folder, from_here, locked, new_memmap, replace_atomically,
                            resolve, writable, write_text, writing)

__all__ = ["ROOT", "Allocate", "apart", "arrays", "built", "checksum", "for_file", "for_folder", "from_here", "locked", "new_memmap",
           "replace_atomically", "resolve", "writable", "write_text", "writing"]
