package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"postern/internal/campaign"
	"postern/internal/engine"
)

// TestDocumentTellsTheTruth holds sentences and examples of openapi.yaml to the
// code that they speak of, where no request of the other tests does.
func TestDocumentTellsTheTruth(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openapiDocument)
	if err != nil {
		t.Fatal(err)
	}
	schemas := doc.Components.Schemas
	property := func(schema, name string) *openapi3.Schema {
		return schemas[schema].Value.Properties[name].Value
	}
	recipients := property("CampaignRequest", "recipients")
	if recipients.MaxItems == nil || *recipients.MaxItems != engine.MaxAddresses {
		t.Errorf("recipients: at most %v", recipients.MaxItems)
	}
	for _, tt := range []struct{ where, text, want string }{
		{"info", doc.Info.Description, headerSourceVPCE},
		{"info", doc.Info.Description, headerGatewayID},
		{"info", doc.Info.Description, "VPC_ENABLED"},
		{"info", doc.Info.Description, "a request\nof 40 MiB"},
		{"info", doc.Info.Description, "of 25 MiB together"},
		{"info", doc.Info.Description, fmt.Sprintf("/contacts takes %d MiB at most", maxContactsBytes>>20)},
		{"info", doc.Info.Description, fmt.Sprintf("up to %d MiB more", drainBeyond>>20)},
		{"recipients", recipients.Description, fmt.Sprintf("at most %d. Each must be a\ncontact", engine.MaxAddresses)},
		{"content_type", property("Attachment", "content_type").Description, "`message/*`\nand `multipart/*` go out as `application/octet-stream`"},
	} {
		if !strings.Contains(tt.text, tt.want) {
			t.Errorf("%s lacks %q:\n%s", tt.where, tt.want, tt.text)
		}
	}

	sameWords(t, "status", property("Campaign", "status"), campaign.Statuses)
	sameWords(t, "delivery", property("Campaign", "delivery"), campaign.Promises)
	sameWords(t, "state", schemas["DeliveryState"].Value, campaign.DeliveryStates)
	retry := schemas["Retry"].Value.AllOf[1].Value.Properties["states"].Value
	sameWords(t, "states", retry.Items.Value, []campaign.DeliveryState{campaign.DeliveryFailed, campaign.DeliveryUnknown})

	passedOver := regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(schemas["ContactChange"].Value.Description, -1)
	var named []string
	for _, match := range passedOver {
		named = append(named, match[1])
	}
	want := slices.DeleteFunc(slices.Clone(campaign.ReservedFields), func(name string) bool {
		return schemas["ContactChange"].Value.Properties[name] != nil // has a meaning of its own
	})
	if !slices.Equal(named, want) {
		t.Errorf("passed over are said to be %v, and are %v", named, want)
	}

	if example := string(openapiDocument); !regexp.MustCompile(`message_id: [0-9a-f]{32}@example\.org\n`).MatchString(example) {
		t.Error("the example of a message_id is none that the service makes")
	}
}

// sameWords holds the values that a member is said to have to those of the
// code.
func sameWords[T ~string](t *testing.T, name string, documented *openapi3.Schema, want []T) {
	t.Helper()
	var got []T
	for _, word := range documented.Enum {
		got = append(got, T(fmt.Sprint(word)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s is said to be one of %v, and is one of %v", name, got, want)
	}
}
