package mdev_test

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
)

func ExampleHost_Define() {
	ctx := context.Background()
	host, sim := exampleHost("tesla-m60")
	err := host.Define(ctx, mdev.Definition{
		Parent: "0000:05:00.0", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"), Type: "GRID M60-2Q", Start: mdev.StartAuto,
		Params: []mdev.Param{{Name: "nvidia/vgpu_params", Value: "disable_vnc=1"}},
	})
	if err != nil {
		panic(err)
	}
	file, err := sim.ReadFile("etc/mdevctl.d/0000:05:00.0/5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")
	fmt.Println(string(file), err)
	// Output:
	// {
	//   "mdev_type": "nvidia-18",
	//   "start": "auto",
	//   "attrs": [
	//     {
	//       "nvidia/vgpu_params": "disable_vnc=1"
	//     }
	//   ]
	// } <nil>
}

func ExampleHost_Definitions() {
	ctx := context.Background()
	host, sim := exampleHost("mtty")
	// Written by mdevctl, with a field of a later version.
	const file = "etc/mdevctl.d/mtty/98d19132-f8f0-4d19-8743-9efa23e6c493"
	if err := sim.WriteFile(file, []byte(`{"mdev_type": "mtty-1", "start": "auto", "attrs": [], "note": "the lab's"}`), 0o644); err != nil {
		panic(err)
	}
	if err := host.Define(ctx, mdev.Definition{Parent: "mtty", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"), Type: "mtty-2"}); err != nil {
		panic(err)
	}
	definitions, err := host.Definitions(ctx)
	if err != nil {
		fmt.Println(err) // of files that cannot be read; the others are there
	}
	for _, def := range definitions {
		fmt.Println(def.Parent, def.UUID, def.Type, def.Start, def.Extra)
	}
	// Output:
	// mtty 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01 mtty-2 manual []
	// mtty 98d19132-f8f0-4d19-8743-9efa23e6c493 mtty-1 auto [{note "the lab's"}]
}

// What was defined is told before a device of that UUID is made without its attributes.
func ExampleHost_DefinitionsOf() {
	ctx := context.Background()
	host, _ := exampleHost("tesla-m60")
	id := uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")
	err := host.Define(ctx, mdev.Definition{
		Parent: "0000:05:00.0", UUID: id, Type: "GRID M60-2Q", Params: []mdev.Param{{Name: "nvidia/vgpu_params", Value: "disable_vnc=1"}},
		Exclusive: true, // one that is there is not overwritten
	})
	if err != nil {
		panic(err)
	}
	definitions, err := host.DefinitionsOf(ctx, id)
	for _, def := range definitions {
		fmt.Println(def.Parent, def.Params, err)
	}
	// Output: 0000:05:00.0 [{nvidia/vgpu_params disable_vnc=1}] <nil>
}

// What was defined is made again after a restart of the host.
func ExampleDefinition_Request() {
	ctx := context.Background()
	host, sim := exampleHost("tesla-m60")
	err := host.Define(ctx, mdev.Definition{Parent: "0000:05:00.0", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"), Type: "GRID M60-2Q"})
	if err != nil {
		panic(err)
	}
	sim.Reboot()
	definitions, err := host.Definitions(ctx)
	if err != nil {
		panic(err)
	}
	for _, def := range definitions {
		made, err := host.Create(ctx, def.Request())
		fmt.Println(made.ID, made.TypeName, err)
	}
	// Output: 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01 GRID M60-2Q <nil>
}

func ExampleHost_Undefine() {
	host, _ := exampleHost("mtty")
	err := host.Undefine(context.Background(), "mtty", uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"))
	fmt.Println(err)
	// Output: undefine 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01: parent mtty has no such definition
}
