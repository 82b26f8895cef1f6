package engine

import (
	"bytes"
	"slices"
	"testing"

	"postern/internal/seal"
)

// TestSubmitSealsFilesWhereTheyStand: a file with room is sealed without a
// copy, one that is there twice comes back whole both times.
func TestSubmitSealsFilesWhereTheyStand(t *testing.T) {
	t.Parallel()
	if FileRoom < seal.Overhead {
		t.Errorf("FileRoom is %d, sealing adds %d", FileRoom, seal.Overhead)
	}
	r := newRig(t, rigOptions{})
	want := bytes.Repeat([]byte("plan"), 1<<10)
	data := append(make([]byte, 0, len(want)+FileRoom), want...)
	s := letter()
	s.Attachments = []File{
		{Filename: "a.txt", ContentType: "text/plain", Data: data},
		{Filename: "b.txt", ContentType: "text/plain", Data: data},
		{Filename: "c.txt", ContentType: "text/plain", Data: slices.Clone(want)},
	}
	got, _, err := r.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(data, want) {
		t.Error("the file was copied")
	}
	for i, ref := range got.Campaign.Letter.Attachments {
		plain, err := r.content(t.Context(), got.Campaign.ID, ref)
		if err != nil || !bytes.Equal(plain, want) {
			t.Errorf("file %d came back with %d octets, %v", i, len(plain), err)
		}
	}
}
