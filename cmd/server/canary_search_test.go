package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// canaries are secrets by what they are used as. They have letters, digits and
// hyphens only, so that they look the same in JSON, URLs and quoted-printable.
type canaries map[string]string

// places are octets by where they were found.
type places map[string][]byte

func (p places) add(where string, octets []byte) { p[where] = append(p[where], octets...) }

// formsOf are what a secret may look like: as it is, in hexadecimal, and in
// base64 at each place where it can begin in what was encoded, such as behind
// the user name in AUTH PLAIN; and its digest without a key, by which a guess
// could be tried, in the same forms.
func formsOf(secret string) map[string][]byte {
	forms := encodingsOf(secret)
	digest := sha256.Sum256([]byte(secret))
	for form, octets := range encodingsOf(string(digest[:])) {
		forms["as a digest "+form] = octets
	}
	return forms
}

func encodingsOf(secret string) map[string][]byte {
	digits := hex.EncodeToString([]byte(secret))
	forms := map[string][]byte{
		"as it is": []byte(secret), "in hexadecimal": []byte(digits), "in HEXADECIMAL": []byte(strings.ToUpper(digits)),
	}
	for shift := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "URLs' base64": base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(append(make([]byte, shift), secret...))
			// Only the digits that are made of the secret alone.
			first, last := (shift*8+5)/6, (shift+len(secret))*8/6
			forms["in "+name+" behind "+strings.Repeat("x", shift)] = []byte(encoded[first:last])
		}
	}
	return forms
}

// search names every secret that is in one of the places.
func (c canaries) search(in places) (found []string) {
	for _, secret := range slices.Sorted(maps.Keys(c)) {
		for form, octets := range formsOf(c[secret]) {
			for where, content := range in {
				for i := bytes.Index(content, octets); i >= 0; i = bytes.Index(content, octets) {
					found = append(found, secret+" "+form+" in "+where+": ..."+around(content, i))
					content = content[i+len(octets):]
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func around(content []byte, i int) string {
	return string(bytes.ToValidUTF8(content[max(0, i-120):min(len(content), i+120)], []byte("?")))
}

// TestSearchFinds holds that a secret is found in each of its forms: a search
// that finds nothing would prove nothing.
func TestSearchFinds(t *testing.T) {
	t.Parallel()
	const secret = "canary-0123456789"
	digest := sha256.Sum256([]byte(secret))
	for name, octets := range map[string]string{
		"as it is":       "x" + secret + "x",
		"base64":         base64.StdEncoding.EncodeToString([]byte(secret)),
		"AUTH PLAIN":     base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + secret)),
		"AUTH PLAIN, 2":  base64.StdEncoding.EncodeToString([]byte("\x00users\x00" + secret)),
		"AUTH PLAIN, 3":  base64.StdEncoding.EncodeToString([]byte("user\x00users\x00" + secret)),
		"in the middle":  base64.URLEncoding.EncodeToString([]byte(`{"a":"` + secret + `","b":1}`)),
		"hexadecimal":    hex.EncodeToString([]byte("x" + secret + "x")),
		"printed by %X ": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"a digest":       "x" + hex.EncodeToString(digest[:]) + "x",
	} {
		if found := (canaries{"it": secret}).search(places{"here": []byte(octets)}); len(found) == 0 {
			t.Errorf("%s: not found in %s", name, octets)
		}
	}
	if found := (canaries{"it": secret}).search(places{"here": []byte("canary-0123")}); found != nil {
		t.Errorf("found %q where it is not", found)
	}
}

// addFiles adds every file below dir.
func (p places) addFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		p.add("file "+entry.Name(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addTables adds every item of the tables with the prefix.
func (p places) addTables(t *testing.T, endpoint, prefix string) {
	t.Helper()
	db := dynamodb.New(dynamodb.Options{
		Region: "us-gov-west-1", BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		DisableValidateResponseChecksum: true,
	})
	tables := dynamodb.NewListTablesPaginator(db, &dynamodb.ListTablesInput{})
	for tables.HasMorePages() {
		page, err := tables.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range page.TableNames {
			if strings.HasPrefix(table, prefix) {
				p.addTable(t.Context(), t, db, table)
			}
		}
	}
}

func (p places) addTable(ctx context.Context, t *testing.T, db *dynamodb.Client, table string) {
	t.Helper()
	scan := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: aws.String(table)})
	for scan.HasMorePages() {
		page, err := scan.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			p.addValue("table "+table, &types.AttributeValueMemberM{Value: item})
		}
	}
}

func (p places) addValue(where string, value types.AttributeValue) {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		p.add(where, []byte(v.Value+"\n"))
	case *types.AttributeValueMemberB:
		p.add(where, append(v.Value, '\n'))
	case *types.AttributeValueMemberSS:
		p.add(where, []byte(strings.Join(v.Value, "\n")+"\n"))
	case *types.AttributeValueMemberBS:
		p.add(where, bytes.Join(v.Value, []byte("\n")))
	case *types.AttributeValueMemberL:
		for _, member := range v.Value {
			p.addValue(where, member)
		}
	case *types.AttributeValueMemberM:
		for name, member := range v.Value {
			p.add(where, []byte(name+"="))
			p.addValue(where, member)
		}
	}
}
