package mailer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"path"
	"strings"
	"unicode/utf8"

	"postern/internal/campaign"
)

// Limits of attachments. How many octets they may have is the API's to say.
const (
	maxAttachments       = 100
	maxFilenameOctets    = 255
	maxContentTypeOctets = 255
)

// defaultContentType says nothing about the data (RFC 2046 4.5.1).
const defaultContentType = "application/octet-stream"

// Attachment is a file that goes with every message of a letter. The letter
// keeps no reference to Data.
type Attachment struct {
	// Filename may have a path, of which the last element is kept.
	Filename string
	// ContentType is a media type, which may have parameters; "" for the one
	// that belongs to the file name's extension.
	ContentType string
	Data        []byte
}

// file is a checked attachment.
type file struct {
	name        string // base name, any script
	contentType string // a well-formed media type without a name parameter
}

// check gives every rule that the attachment breaks. prefix is its path.
func (a Attachment) check(prefix string) (f file, faults []campaign.Fault) {
	f.name = BaseName(a.Filename)
	if err := checkFilename(a.Filename, f.name); err != nil {
		faults = append(faults, campaign.Fault{Field: prefix + ".filename", Rule: err.Error()})
	}
	contentType := a.ContentType
	if strings.TrimSpace(contentType) == "" {
		contentType = typeByName(f.name, a.Data)
	}
	var err error
	if f.contentType, err = checkContentType(contentType); err != nil {
		faults = append(faults, campaign.Fault{Field: prefix + ".content_type", Rule: err.Error()})
	}
	return f, faults
}

// BaseName is a file's name without its path, as Unix and as Windows write it.
func BaseName(name string) string {
	return strings.TrimSpace(name[strings.LastIndexAny(name, `/\`)+1:])
}

func checkFilename(given, base string) error {
	if err := campaign.CheckShownName(given); err != nil {
		return err
	}
	switch {
	case base == "" || base == "." || base == "..":
		return errors.New("must be a file name")
	case len(base) > maxFilenameOctets:
		return fmt.Errorf("must be at most %d octets", maxFilenameOctets)
	case strings.Contains(base, "\t"):
		return errors.New("must not have a tab")
	case strings.Contains(base, "=?"):
		// However it is encoded, some readers decode it once more, and get a
		// name that nobody has checked, such as a path.
		return errors.New("must not have =?, which begins an encoded word (RFC 2047)")
	}
	return nil
}

// typeByName gives the type of the name's extension. It claims UTF-8 only for
// text that is.
func typeByName(name string, data []byte) string {
	t := mime.TypeByExtension(path.Ext(name))
	if t == "" {
		return defaultContentType
	}
	if bare, charset, found := strings.Cut(t, "; charset="); found && charset == "utf-8" && !utf8.Valid(data) {
		return bare
	}
	return t
}

// checkContentType gives the type in its canonical form.
func checkContentType(s string) (string, error) {
	errForm := errors.New("must be a media type such as application/pdf")
	if len(s) > maxContentTypeOctets {
		return "", fmt.Errorf("must be at most %d octets", maxContentTypeOctets)
	}
	if err := campaign.CheckHeaderText(s); err != nil {
		return "", err
	}
	mediaType, params, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(mediaType, "/") || !isASCII(s) {
		return "", errForm
	}
	if strings.HasPrefix(mediaType, "multipart/") || strings.HasPrefix(mediaType, "message/") {
		// RFC 2045 6.4 allows no base64 for these; as plain data the file
		// arrives as it is.
		return defaultContentType, nil
	}
	delete(params, "name")     // ours follows
	delete(params, "boundary") // some readers take anything that has one apart
	formatted := mime.FormatMediaType(mediaType, params)
	if formatted == "" {
		return "", errForm
	}
	return formatted, nil
}

// base64Line is how many octets make a line of 76 (RFC 2045 6.8).
const base64Line = 57

// encodeBase64 gives data as lines of base64 without a break behind the last.
func encodeBase64(data []byte) []byte {
	lines := (len(data) + base64Line - 1) / base64Line
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+max(lines-1, 0)*len("\r\n"))
	for len(data) > base64Line {
		out = base64.StdEncoding.AppendEncode(out, data[:base64Line])
		out = append(out, "\r\n"...)
		data = data[base64Line:]
	}
	return base64.StdEncoding.AppendEncode(out, data)
}
