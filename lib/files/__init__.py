"""Reading what lies on disk, one way for everybody: JSON (`text`), pictures, `.mat` files, saliency maps. Imports nothing else of lib.

Whatever is wrong with a file is one line that begins with its path and ends with what to do: ValueError, FileNotFoundError where
there is none. Nothing in a file is executed.
"""
