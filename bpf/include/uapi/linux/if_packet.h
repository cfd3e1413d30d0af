/* Empty: BCC includes it, and brings what it needs itself. */
