package mailer

// finalDot ends a message whose last line is complete.
const finalDot = ".\r\n"

// commit writes the message and its final dot, the latter only when it may be
// committed, and the envelope of next behind it. The end of the message, or
// all of a short one, and what follows it are one write, with the question
// right before it.
//
// A failure to write is ambiguous only where the system took the dot. Then the
// relay's reply, if one comes, decides.
func (s *Session) commit(m, next *Mail) *Error {
	if err := s.writeHead(m.Message); err != nil {
		return err
	}
	s.out = append(s.out, finalDot...)
	dot := len(s.out)
	ahead := s.lookAhead(next)
	err := s.unasked(StageContent)
	if err == nil {
		err = mayCommit(m, StageContent)
	}
	if err != nil {
		s.Close()
		return err
	}
	n, cause := s.write(s.timeouts.Block)
	switch {
	case cause != nil && n < dot:
		return s.cutOff(cause)
	case cause != nil:
		s.ending = true
	case ahead:
		s.ahead = next
	}
	return nil
}

// writeHead writes all of a large message but its end, block by block, each
// with its own time-out, and gathers the end for the last write.
func (s *Session) writeHead(m *Message) *Error {
	s.out = s.out[:0]
	head := max(int(m.Size())-maxTail, 0)
	room := contentBlock
	for _, segment := range m.Segments() {
		for head > 0 && len(segment) > 0 {
			n := min(room, head, len(segment))
			s.vector = append(s.vector, segment[:n])
			segment, head, room = segment[n:], head-n, room-n
			if room > 0 && head > 0 {
				continue
			}
			if err := s.writeBlock(); err != nil {
				return err
			}
			room = contentBlock
		}
		s.out = append(s.out, segment...)
	}
	return nil
}

// writeBlock writes what stands in the vector.
func (s *Session) writeBlock() *Error {
	s.line.armWrite(s.timeouts.Block)
	var err error
	if s.tls {
		err = s.writeRecords()
	} else {
		s.blocks = s.vector
		_, err = s.blocks.WriteTo(s.raw)
	}
	s.vector = s.vector[:0]
	if err != nil {
		return s.cutOff(err)
	}
	return nil
}

// writeRecords writes the vector over TLS. What is large goes right into the
// records, what is small is gathered for one.
func (s *Session) writeRecords() error {
	for _, part := range s.vector {
		if len(s.out)+len(part) > writeBuffer {
			if err := s.writeGathered(); err != nil {
				return err
			}
		}
		if len(part) < writeBuffer {
			s.out = append(s.out, part...)
			continue
		}
		if _, err := s.conn.Write(part); err != nil {
			return err
		}
	}
	return s.writeGathered()
}

func (s *Session) writeGathered() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// cutOff is a failure to write a message. A relay that has seen enough of it,
// such as more than it takes, may have said so before it closed.
func (s *Session) cutOff(cause error) *Error {
	r, err := s.await(s.timeouts.Quit)
	if err != nil || r.class() < 4 {
		return s.lost(StageContent, cause)
	}
	s.Close()
	return classify(StageContent, r.reply())
}
