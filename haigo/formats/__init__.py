"""Files that several rooms read or write: one owner for each, who alone knows its shape and its tolerance."""
