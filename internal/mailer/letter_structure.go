package mailer

import (
	"fmt"
	"strings"

	mail "github.com/xhit/go-simple-mail/v2"
)

// Sentinels stand for the content while go-simple-mail composes the structure
// around it. They are ASCII that no encoding changes.
const (
	textSentinel = "PosternText"
	htmlSentinel = "PosternHTML"
	dataSentinel = "Postern"
	dataEncoded  = "UG9zdGVybg==" // dataSentinel in base64
)

func nameSentinel(i int) string { return fmt.Sprintf("postern-%d", i) }
func typeSentinel(i int) string { return fmt.Sprintf("application/x-postern-%d", i) }

// structure is a letter's MIME structure:
// multipart/mixed { multipart/alternative { text/plain, text/html }, files },
// or the alternative by itself where there are no files.
type structure struct {
	// contentType is the message's own Content-Type.
	contentType string
	// around has what stands before the text, between text and HTML, before
	// each file and behind the last of them, with the parts' headers.
	around []string
}

// compose lets go-simple-mail compose the structure, then puts in the files'
// headers and boundaries of our own. A boundary begins with "=_", which is in
// no quoted-printable and in no base64 text (RFC 2045 6.7), so that no content
// can hold it; digest tells letters apart. The error is a fault of Postern's:
// go-simple-mail composed something else than it did.
func compose(digest string, files []file) (structure, error) {
	header, body, found := strings.Cut(composeSentinels(len(files)), "\n\n")
	if !found {
		return structure{}, fmt.Errorf("no header in the composed structure")
	}
	contentType, found := headerValue(header, "Content-Type")
	if !found {
		return structure{}, fmt.Errorf("no Content-Type in the composed structure")
	}
	composed, err := replaceBoundaries(contentType+"\n\n"+body, digest)
	if err != nil {
		return structure{}, err
	}
	contentType, body, _ = strings.Cut(composed, "\n\n")
	around, err := cutContent(body, len(files))
	if err != nil {
		return structure{}, err
	}
	for i, f := range files {
		if around[i+2], err = putHeaders(around[i+2], i, f); err != nil {
			return structure{}, err
		}
	}
	for i := range around {
		around[i] = crlf(around[i])
	}
	return structure{contentType: crlf(contentType), around: around}, nil
}

// composeSentinels gives go-simple-mail's message with LF line breaks, since
// it mixes both.
func composeSentinels(files int) string {
	m := mail.NewMSG()
	m.SetBody(mail.TextPlain, textSentinel)
	m.AddAlternative(mail.TextHTML, htmlSentinel)
	for i := range files {
		m.Attach(&mail.File{Name: nameSentinel(i), MimeType: typeSentinel(i), Data: []byte(dataSentinel)})
	}
	// Folded lines become one, so that they can be found and folded anew.
	return strings.ReplaceAll(strings.ReplaceAll(m.GetMessage(), "\r\n", "\n"), "\n \t", "\n ")
}

func headerValue(header, name string) (value string, found bool) {
	_, value, found = strings.Cut("\n"+header+"\n", "\n"+name+": ")
	for i := 0; i < len(value)-1; i++ {
		if value[i] == '\n' && value[i+1] != ' ' {
			return value[:i], found
		}
	}
	return strings.TrimSuffix(value, "\n"), found
}

// replaceBoundaries puts our boundaries, quoted where they are declared, in
// the place of go-simple-mail's random ones.
func replaceBoundaries(composed, digest string) (string, error) {
	const declaration = "boundary="
	for n, rest := 1, composed; ; n++ {
		_, after, found := strings.Cut(rest, declaration)
		if !found {
			return composed, nil
		}
		old, _, _ := strings.Cut(after, "\n")
		if old == "" {
			return "", fmt.Errorf("empty boundary in the composed structure")
		}
		boundary := fmt.Sprintf("=_%s_%d", digest, n)
		composed = strings.ReplaceAll(composed, declaration+old, declaration+`"`+boundary+`"`)
		composed = strings.ReplaceAll(composed, "--"+old, "--"+boundary)
		rest = after
	}
}

// cutContent cuts the body at the sentinels of the text, the HTML and the
// files' data.
func cutContent(body string, files int) ([]string, error) {
	sentinels := []string{textSentinel, htmlSentinel}
	for range files {
		sentinels = append(sentinels, dataEncoded)
	}
	around := make([]string, 0, len(sentinels)+1)
	for _, s := range sentinels {
		before, after, found := strings.Cut(body, "\n\n"+s+"\n")
		if !found {
			return nil, fmt.Errorf("no %s in the composed structure", s)
		}
		around = append(around, before+"\n\n")
		body = "\n" + after
	}
	return append(around, body), nil
}

// putHeaders puts a file's own headers in the place of its sentinels.
func putHeaders(part string, i int, f file) (string, error) {
	disposition := fmt.Sprintf("attachment;\n filename=%q", nameSentinel(i))
	contentType := fmt.Sprintf("%s;\n name=%q", typeSentinel(i), nameSentinel(i))
	if !strings.Contains(part, disposition) || !strings.Contains(part, contentType) {
		return "", fmt.Errorf("no headers of file %d in the composed structure", i)
	}
	return strings.NewReplacer(
		disposition, normalizeBreaks(f.disposition()),
		contentType, normalizeBreaks(f.typeWithName()),
	).Replace(part), nil
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
