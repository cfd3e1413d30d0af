/* Empty: BCC includes this file, but has its own copy of what it needs. */
