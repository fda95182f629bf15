"""What the end of a file's name says of the text in it."""

from __future__ import annotations

CODE_SUFFIXES = frozenset(
    {".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".cxx", ".java", ".js", ".ts", ".tsx", ".go", ".rs", ".rb"}
    | {".php", ".sh", ".pl", ".scala", ".kt", ".swift", ".sql", ".lua", ".jl", ".r", ".cs", ".hs", ".ml", ".css"}
    | {".jsx", ".mjs", ".cjs", ".vue", ".hh", ".hxx", ".inl", ".cu", ".cuh", ".m", ".mm", ".pm", ".bash", ".zsh"}
    | {".dart", ".ex", ".erl", ".clj", ".lisp", ".el", ".scm", ".fs", ".vb", ".ps1", ".groovy", ".f90", ".pas"}
    | {".zig", ".nim", ".cmake", ".mk", ".proto", ".vim", ".awk", ".scss", ".asm", ".s", ".v", ".sv", ".vhd", ".sol"}
)
"""Of source code: a file is one document, blank lines part nothing in it."""
TEXT_SUFFIXES = frozenset({".md", ".rst", ".tex", ".org", ".adoc", ".yml", ".yaml", ".toml", ".ini", ".cfg"})
LOOKED_INTO = frozenset({".sql", ".php", ".vue"}) | TEXT_SUFFIXES - {".md", ".rst"}
"""A dump may be called .sql, and HTML .php."""
