"""How much a document may ask of us. Every bound of the format rooms is written here and nowhere else."""

MAX_BYTES = 10 * 1024 * 1024
"""Size of a document as it arrives, decoded from base64."""

MAX_MARKDOWN_CHARACTERS = 12 * 1024 * 1024
"""Length of the Markdown that a document may turn into; a little above `MAX_BYTES`, because markup may grow."""

MAX_TITLE_CHARACTERS = 300

MAX_HTML_DEPTH = 400
"""Open elements at one place. Browsers stop at 512; the parser's work grows with depth times elements."""

MAX_HTML_ELEMENTS = 400_000

MAX_HTML_ATTRIBUTES = 1_000
"""Of one element; the parser compares each with all before it."""

MAX_XML_DEPTH = 200
"""libxml2 itself stops at 256."""

MAX_XML_ELEMENTS = 400_000

MAX_XML_ATTRIBUTES = 1_000
"""Of one element."""

MAX_JSON_DEPTH = 100

MAX_JSON_VALUES = 1_000_000

MAX_PDF_PAGES = 3_000

MAX_PDF_CPU_SECONDS = 10

MAX_PDF_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space of the process that reads a PDF, Python included."""

MAX_PDF_WAIT_SECONDS = 60
"""By the clock on the wall; the machine may be busy with other things."""

MAX_RST_CHARACTERS = 1024 * 1024
"""docutils reads about 300 kB per CPU second."""

MAX_RST_CPU_SECONDS = 5.0
"""Checked every few hundred lines that docutils takes up."""

MAX_RST_LINE_CHARACTERS = 10_000

MAX_HEADING_SEARCH_CHARACTERS = 128 * 1024
"""How far into a Markdown text its title is looked for."""

MAX_RST_PARAGRAPH_CHARACTERS = 32 * 1024
"""A longer one is taken as plain text: its inline markup costs the square of its length."""

MAX_RST_COLUMNS = 100
